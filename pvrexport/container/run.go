package container

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport/manifest"
)

// argument is a first-class key's template argument. The value is nil when
// the definition does not have it.
type argument struct {
	key, name string
	value     func(*Definition) any
}

// arguments is the table of first-class keys that stand for template
// arguments. A definition may give each of them in one of the two ways.
var arguments = [...]argument{
	{"group", "PV_GROUP", func(d *Definition) any { return nil }}, // manifest.Source.Group
	{"restart_policy", "PV_RESTART_POLICY", func(d *Definition) any { return word(d.RestartPolicy) }},
	{"status_goal", "PV_STATUS_GOAL", func(d *Definition) any { return word(d.StatusGoal) }},
	{"auto_recovery", "PV_AUTO_RECOVERY", func(d *Definition) any {
		if d.AutoRecovery == nil {
			return nil
		}
		return d.AutoRecovery
	}},
	{"roles", "PV_ROLES", func(d *Definition) any {
		if d.Roles == nil {
			return nil
		}
		return words(d.Roles)
	}},
	{"drivers.required", "PV_DRIVERS_REQUIRED", func(d *Definition) any { return wordsOrNil(d.Drivers.Required) }},
	{"drivers.optional", "PV_DRIVERS_OPTIONAL", func(d *Definition) any { return wordsOrNil(d.Drivers.Optional) }},
	{"drivers.manual", "PV_DRIVERS_MANUAL", func(d *Definition) any { return wordsOrNil(d.Drivers.Manual) }},
	{"capabilities.keep", "PV_LXC_CAP_KEEP", func(d *Definition) any { return wordsOrNil(d.Capabilities.Keep) }},
	{"capabilities.drop", "PV_LXC_CAP_DROP", func(d *Definition) any { return wordsOrNil(d.Capabilities.Drop) }},
	{"network.pool", "PV_NETWORK_POOL", func(d *Definition) any { return word(d.Network.Pool) }},
	{"network.hostname", "PV_NETWORK_HOSTNAME", func(d *Definition) any { return word(d.Network.Hostname) }},
	{"network.ip", "PV_NETWORK_IP", func(d *Definition) any { return word(d.Network.IP) }},
	{"network.mac", "PV_NETWORK_MAC", func(d *Definition) any { return word(d.Network.MAC) }},
	{"network.type", "PV_LXC_NETWORK_TYPE", func(d *Definition) any { return word(d.Network.Type) }},
	{"network.link", "PV_LXC_NETWORK_LINK", func(d *Definition) any { return word(d.Network.Link) }},
	{"network.address", "PV_LXC_NETWORK_IPV4_ADDRESS", func(d *Definition) any { return word(d.Network.Address) }},
	{"network.gateway", "PV_LXC_NETWORK_IPV4_GATEWAY", func(d *Definition) any { return word(d.Network.Gateway) }},
	{"services.required", "PV_SERVICES_REQUIRED", func(d *Definition) any { return requirements(d.Services.Required) }},
	{"services.optional", "PV_SERVICES_OPTIONAL", func(d *Definition) any { return requirements(d.Services.Optional) }},
}

func word(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func words(l []string) any {
	out := make([]any, 0, len(l))
	for _, s := range l {
		out = append(out, s)
	}
	return out
}

func wordsOrNil(l []string) any {
	if len(l) == 0 {
		return nil
	}
	return words(l)
}

func requirements(l []Requirement) any {
	if len(l) == 0 {
		return nil
	}
	out := make([]any, 0, len(l))
	for _, r := range l {
		m := map[string]any{}
		for k, v := range map[string]string{"name": r.Name, "type": r.Type, "role": r.Role, "interface": r.Interface, "target": r.Target} {
			if v != "" {
				m[k] = v
			}
		}
		out = append(out, m)
	}
	return out
}

// Source is what the definition says about running, for the template.
func (def *Definition) Source(rootfsDigest string) manifest.Source {
	s := manifest.Source{
		Name: def.Name, Group: def.Group, RootfsDigest: rootfsDigest, BuildOrigin: def.BuildOrigin, Base: def.Base, Network: def.NetworkDocument,
		Args: maps.Clone(def.Args), Config: maps.Clone(def.OCI), Exports: def.Exports, Logs: def.Logs, Mdev: def.Mdev,
		Persistence: map[string]string{}, Where: def.where,
	}
	if s.Args == nil {
		s.Args = map[string]any{}
	}
	for _, a := range arguments {
		if v := a.value(def); v != nil {
			s.Args[a.name] = v
		}
	}
	if s.Config == nil {
		s.Config = map[string]any{}
	}
	for name, v := range map[string]any{
		"Entrypoint": wordsOrNil(def.Entrypoint), "Cmd": wordsOrNil(def.Cmd),
		"Env": wordsOrNil(def.Env), "WorkingDir": word(def.Workdir),
	} {
		if v != nil {
			s.Config[name] = v
		}
	}
	for _, v := range def.Volumes {
		p := v.Persistence
		if v.Disk != "" {
			p += "@" + v.Disk
		}
		s.Persistence[v.Path] = p
	}
	for _, e := range def.Services.Exports {
		s.Services = append(s.Services, manifest.Service{
			Name: e.Name, Type: e.Type, Socket: e.Socket, Bus: e.Bus, Owns: e.Owns, Role: e.Role, Allow: e.Allow,
		})
	}
	return s
}

// where turns a place in the template's terms into one in the definition.
func (def *Definition) where(path string) diag.Position {
	if p, ok := def.set[path]; ok {
		return p
	}
	first, rest, _ := strings.Cut(path, ".")
	switch first {
	case "args":
		name, _, _ := strings.Cut(rest, ".")
		if p, ok := def.set["args."+name]; ok {
			return p
		}
		for _, a := range arguments {
			if a.name == name {
				key, _, _ := strings.Cut(a.key, ".")
				return def.at(key)
			}
		}
		return def.at("args")
	case "config":
		name, _, _ := strings.Cut(rest, ".")
		return def.at(map[string]string{"Entrypoint": "entrypoint", "Cmd": "cmd", "Env": "env", "WorkingDir": "workdir"}[name])
	case "persistence":
		for _, v := range def.Volumes {
			if v.Path == rest {
				return v.Pos
			}
		}
		return def.at("volumes")
	}
	return def.at(first)
}

func (def *Definition) at(key string) diag.Position {
	if p, ok := def.set[key]; ok {
		return p
	}
	return def.Pos
}

// Check reports what is wrong between the parts of a definition: the rules of
// the template and of the device, and what the schema cannot express.
func (def *Definition) Check() []diag.Diagnostic {
	var found []diag.Diagnostic
	bad := func(pos diag.Position, hint, format string, args ...any) {
		found = append(found, diag.Diagnostic{Pos: pos, Severity: diag.Error, Rule: ruleDefinition, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	def.checkArguments(bad)
	def.checkBuild(bad)
	def.checkConfig(bad)
	if len(found) > 0 {
		return found
	}
	_, notes, err := manifest.Render(def.Source("sha256:" + strings.Repeat("0", 64)))
	if err != nil {
		bad(def.Pos, "", "%v", err)
	}
	return append(found, notes...)
}

type complain func(pos diag.Position, hint, format string, args ...any)

func (def *Definition) checkArguments(bad complain) {
	for _, a := range arguments {
		given := a.value(def) != nil || a.key == "group" && def.Group != ""
		if _, twice := def.Args[a.name]; twice && given {
			bad(def.where("args."+a.name), "keep the key", "the argument %s and the key %q say the same thing", a.name, a.key)
		}
	}
	seen := map[string]diag.Position{}
	for _, v := range def.Volumes {
		if first, twice := seen[v.Path]; twice {
			bad(v.Pos, fmt.Sprintf("the first is on line %d", first.Line), "volume %q comes twice", v.Path)
		}
		seen[v.Path] = v.Pos
	}
}

func (def *Definition) checkBuild(bad complain) {
	has := def.Architectures
	for i, a := range has {
		if slices.Index(has, a) < i {
			bad(def.at("architectures"), "", "architecture %q comes twice", a)
		}
	}
	if len(def.Rootfs) == 0 {
		bad(def.at("rootfs"), "", "a root filesystem needs at least one layer")
	}
	for _, l := range def.Rootfs {
		for _, a := range l.Archs {
			if len(has) > 0 && !slices.Contains(has, a) {
				bad(l.Pos, "", "the layer is only for %s, which the definition is not built for", a)
			}
		}
		checkRules(l.Rules, bad)
	}
	checkRules(def.Squashfs.Rules, bad)
	if err := def.Squashfs.Validate(); err != nil {
		bad(cmp.Or(def.Squashfs.Pos, def.Pos), "", "%v", err)
	}
}

func checkRules(rules []PathRule, bad complain) {
	for _, r := range rules {
		acts := r.Owner.Set || r.Mode.Set || r.Caps != "" || r.Xattrs != nil
		switch {
		case r.Remove && acts:
			bad(r.Pos, "", "a rule that removes has nothing else to do")
		case !r.Remove && !acts:
			bad(r.Pos, "give it owner, mode, capabilities, xattrs or remove", "the rule changes nothing")
		}
	}
}

// checkConfig refuses names in the overlay that the device-side parser takes
// for files of a container, wherever they stand (pantavisor,
// parser_system1.c, system1_parse_objects: it looks at the end of the key).
func (def *Definition) checkConfig(bad complain) {
	for _, l := range def.Config {
		if l.Kind == "file" {
			if why := reservedName(l.Value); why != "" {
				bad(l.Pos, "give it another name", "%s", why)
			}
		}
	}
}

func reservedName(name string) string {
	switch base := name[strings.LastIndexByte(name, '/')+1:]; base {
	case "run.json", "services.json":
		return fmt.Sprintf("a device takes any file named %s for a container's own, in an overlay too", base)
	case "src.json", "build.json":
		return fmt.Sprintf("a device ignores any file named %s, in an overlay too", base)
	}
	return ""
}
