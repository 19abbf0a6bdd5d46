package pvrexport

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// runKeys are the members of run.json that the device's parser looks up, with
// the type it expects (parse_platform in parser_system1.c).
var runKeys = []struct {
	name string
	kind jsonKind
}{
	{"name", kindString}, {"type", kindString}, {"runlevel", kindString}, {"automodfw", kindString},
	{"group", kindString}, {"restart_policy", kindString}, {"status_goal", kindString},
	{"roles", kindArray}, {"auto_recovery", kindObject}, {"network", kindObject},
	{"config", kindString}, {"share", kindString}, {"root-volume", kindString},
	{"volumes", kindArray}, {"logs", kindArray}, {"storage", kindObject},
	{"drivers", kindObject}, {"services", kindObject}, {"exports", kindArray}, {"dev-log", kindBool},
}

// runCheck looks at one run.json.
type runCheck struct {
	*stateCheck
	dir  string // the container
	file string // the key
	run  object
}

// run checks <dir>/run.json.
func (c *stateCheck) run(dir string, v Value) {
	r := &runCheck{stateCheck: c, dir: dir, file: dir + "/run.json"}
	var ok bool
	if r.run, ok = asObject(json.RawMessage(v.json)); !ok {
		c.errorf("run-type", r.file, "it is %s; devices need an object", kindOf(v.json))
		return
	}
	r.keys()
	r.values()
	r.files()
	r.storage()
	r.roles()
	r.logs()
	r.drivers()
	r.recovery()
	r.network()
	r.services()
	r.config()
}

// keys checks names and types. The parser finds a key by its first letters:
// without "config" it takes "config_extra".
func (r *runCheck) keys() {
	for _, k := range runKeys {
		if _, ok := r.run[k.name]; !ok {
			for _, other := range r.run.keys() {
				if strings.HasPrefix(other, k.name) {
					r.errorf("run-key-prefix", r.file, "devices take the key %q for %q, which is not there", other, k.name)
				}
			}
			continue
		}
		kind := r.run.kind(k.name)
		if kind != k.kind && (k.name != "roles" || kind != kindObject) {
			r.errorf("run-type", r.file, "%q is %s; devices need %s", k.name, kind, k.kind)
		}
	}
	if spec := r.run.str(SpecKey); spec != "service-manifest-run@1" {
		r.warnf("run-spec", r.file, `"#spec" is %q, not "service-manifest-run@1"`, spec)
	}
}

// oneOf checks a string member against its values.
func (r *runCheck) oneOf(severity diag.Severity, rule, key, effect string, values ...string) {
	raw, ok := r.run[key]
	if !ok {
		return
	}
	if s, isString := asString(raw); isString && !slices.Contains(values, s) {
		r.add(severity, rule, r.file, "%q is %q, not one of %s: %s", key, s, strings.Join(values, ", "), effect)
	}
}

// runlevels are the old names of groups; devices still read them.
var runlevels = []string{"data", "root", "platform", "app"}

const refused = "devices refuse the whole revision"

func (r *runCheck) values() {
	name, ok := asString(r.run["name"])
	switch {
	case !ok:
		r.errorf("run-name", r.file, `"name" is missing: %s`, refused)
	case name != r.dir:
		r.errorf("run-name", r.file, "\"name\" is %q, but the directory is %q: files and services would not belong to the container", name, r.dir)
	}
	// pvr writes no type for a container that is only mounted.
	if t, ok := asString(r.run["type"]); (ok || !r.mountOnly()) && t != "lxc" {
		r.errorf("run-lxc", r.file, `"type" is %q, not "lxc": the container cannot start`, t)
	}
	r.oneOf(diag.Error, "run-restart-policy", "restart_policy", refused, "system", "container")
	r.oneOf(diag.Error, "run-status-goal", "status_goal", refused, "MOUNTED", "STARTED", "READY")
	r.oneOf(diag.Warning, "run-runlevel", "runlevel", "devices ignore it", runlevels...)
	r.oneOf(diag.Warning, "run-automodfw", "automodfw", `devices take anything but "no" for yes`, "no", "yes")
	if groups, here := r.groups(); here {
		r.oneOf(diag.Error, "run-group", "group", refused, groups...)
		if level := r.run.str("runlevel"); slices.Contains(runlevels, level) && !slices.Contains(groups, level) {
			r.errorf("run-group", r.file, `"runlevel" is %q, and the state defines no group of that name: %s`, level, refused)
		}
	} else {
		r.oneOf(diag.Warning, "run-group", "group", "refused on devices that do not define it", groups...)
	}
}

// groups returns the groups that the state defines, or those that devices
// have by default.
func (c *stateCheck) groups() (names []string, here bool) {
	list, ok := c.state.members["groups.json"]
	raw := json.RawMessage(list.json)
	if device, isDevice := c.state.members["device.json"]; isDevice {
		o, _ := asObject(json.RawMessage(device.json))
		raw, ok = o["groups"]
	}
	if !ok {
		return runlevels, false
	}
	elements, _ := asArray(raw)
	for _, e := range elements {
		o, _ := asObject(e)
		names = append(names, o.str("name"))
	}
	return names, true
}

// mountOnly says that nothing of the container runs.
func (r *runCheck) mountOnly() bool {
	return r.run.str("runlevel") == "data" || r.run.str("status_goal") == "MOUNTED"
}

// files checks that the files that run.json names are in the state.
func (r *runCheck) files() {
	if config := r.run.str("config"); config != "" {
		r.needFile("run-config", "config", config)
	} else if !r.mountOnly() {
		r.errorf("run-config", r.file, `"config" is missing: the container has no LXC configuration and cannot start`)
	}
	if root := r.run.str("root-volume"); root != "" {
		r.needFile("run-volume", "root-volume", root)
	} else {
		r.warnf("run-volume", r.file, `"root-volume" is missing: the container has no root filesystem`)
	}
	volumes, _ := asArray(r.run["volumes"])
	for i, raw := range volumes {
		where := fmt.Sprintf("volumes[%d]", i)
		if volume, ok := asString(raw); ok {
			r.needFile("run-volume", where, volume)
		} else {
			r.errorf("run-type", r.file, "%q is %s; devices need a string", where, kindOf(string(raw)))
		}
	}
}

func (r *runCheck) needFile(rule, where, name string) {
	// "dm:name" is a volume with dm-verity over the same file.
	if _, after, ok := strings.Cut(name, ":"); ok {
		name = after
	}
	if _, ok := r.state.members[r.dir+"/"+name]; !ok {
		r.errorf(rule, r.file, "%q names %q, but the state has no %s/%s", where, name, r.dir, name)
	}
}

// storage follows parse_storage.
func (r *runCheck) storage() {
	storage, _ := asObject(r.run["storage"])
	for _, key := range storage.keys() {
		volume, ok := asObject(storage[key])
		if !ok {
			r.errorf("run-storage", r.file, "\"storage.%s\" is %s; devices need an object", key, kindOf(string(storage[key])))
			continue
		}
		switch persistence, ok := asString(volume["persistence"]); {
		case !ok:
			r.errorf("run-storage", r.file, "\"storage.%s\" has no persistence: devices drop the volume", key)
		case !slices.Contains([]string{"permanent", "revision", "boot"}, persistence):
			r.warnf("run-storage", r.file, "\"storage.%s.persistence\" is %q, not permanent, revision or boot: devices take it for boot", key, persistence)
		}
	}
}

func (r *runCheck) roles() {
	roles, _ := asArray(r.run["roles"])
	for i, raw := range roles {
		if role, ok := asString(raw); !ok || role != "mgmt" && role != "nobody" {
			r.warnf("run-roles", r.file, "\"roles[%d]\" is %s, not mgmt or nobody: devices ignore it", i, raw)
		}
	}
}

// logs follows do_action_for_one_log.
func (r *runCheck) logs() {
	logs, _ := asArray(r.run["logs"])
	for i, raw := range logs {
		if o, ok := asObject(raw); !ok || len(o) == 0 {
			r.errorf("run-logs", r.file, "\"logs[%d]\" is %s, not an object with members: %s", i, raw, refused)
		}
	}
}

func (r *runCheck) drivers() {
	drivers, _ := asObject(r.run["drivers"])
	for _, key := range []string{"required", "optional", "manual"} {
		raw, ok := drivers[key]
		if !ok {
			continue
		}
		list, isList := asArray(raw)
		if !isList {
			r.errorf("run-drivers", r.file, "\"drivers.%s\" is %s; devices need an array of strings", key, kindOf(string(raw)))
		}
		for i, element := range list {
			if _, ok := asString(element); !ok {
				r.errorf("run-drivers", r.file, "\"drivers.%s[%d]\" is %s; devices need a string", key, i, kindOf(string(element)))
			}
		}
	}
}

var (
	recoveryInts  = []string{"max_retries", "retry_delay", "reset_window", "stable_timeout"}
	backoffPolicy = regexp.MustCompile(`^(reboot|never|[0-9]+(h|min|s))$`)
)

// recovery follows pv_parse_auto_recovery_json, which never complains.
func (r *runCheck) recovery() {
	recovery, ok := asObject(r.run["auto_recovery"])
	if !ok {
		return
	}
	const rule = "run-auto-recovery"
	known := append([]string{"policy", "backoff_factor", "backoff_policy"}, recoveryInts...)
	r.lookups(r.file, "auto_recovery", recovery, known...)
	for _, key := range recovery.keys() {
		raw := recovery[key]
		s, isString := asString(raw)
		where := "auto_recovery." + key
		switch {
		case slices.Contains(recoveryInts, key):
			if _, err := strconv.Atoi(string(raw)); err != nil {
				r.errorf(rule, r.file, "%q is %s; devices need an integer and take another number instead", where, raw)
			}
		case key == "policy" && (!isString || !slices.Contains([]string{"no", "always", "on-failure", "unless-stopped"}, s)):
			r.errorf(rule, r.file, `%q is %s, not no, always, on-failure or unless-stopped: devices take it for "no"`, where, raw)
		case key == "backoff_factor" && kindOf(string(raw)) != kindNumber:
			if _, err := strconv.ParseFloat(s, 64); err != nil {
				r.errorf(rule, r.file, "%q is %s; devices need a number", where, raw)
			}
		case key == "backoff_policy" && !backoffPolicy.MatchString(s):
			r.errorf(rule, r.file, `%q is %s, not reboot, never or a time such as 10min: devices take it for "reboot"`, where, raw)
		case !slices.Contains(known, key):
			r.warnf(rule, r.file, "%q is unknown to devices%s", where, suggest(key, known))
		}
	}
}

func suggest(word string, known []string) string {
	if near := diag.Nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// network follows do_action_for_network: a flat object.
func (r *runCheck) network() {
	network, ok := asObject(r.run["network"])
	if !ok {
		return
	}
	const rule = "run-network"
	known := []string{"mode", "pool", "hostname", "ip", "mac"}
	r.lookups(r.file, "network", network, known...)
	for _, key := range network.keys() {
		s, isString := asString(network[key])
		switch {
		case !slices.Contains(known, key):
			r.warnf(rule, r.file, "\"network.%s\" is not read by devices, only %s", key, strings.Join(known, ", "))
		case !isString:
			r.errorf(rule, r.file, "\"network.%s\" is %s; devices need a string", key, network.kind(key))
		case key == "mode" && s != "host" && s != "pool":
			r.errorf(rule, r.file, `"network.mode" is %q, not host or pool: devices ignore it`, s)
		case key == "ip":
			if _, err := netip.ParseAddr(s); err != nil {
				r.errorf(rule, r.file, `"network.ip" is %q, which is no address`, s)
			}
		case key == "mac":
			if _, err := net.ParseMAC(s); err != nil {
				r.errorf(rule, r.file, `"network.mac" is %q, which is no hardware address`, s)
			}
		}
	}
	if network.str("mode") == "pool" && network.str("pool") == "" {
		r.errorf(rule, r.file, `"network.mode" is pool, but "network.pool" names none: the container has no interface`)
	}
}

// volumePath is a mount source in an LXC configuration.
var volumePath = regexp.MustCompile(`/volumes/([^/\s:]+)/([^/\s:]+)`)

// config compares the LXC configuration with run.json.
func (r *runCheck) config() {
	v := r.state.members[path.Join(r.dir, r.run.str("config"))]
	id, ok := v.Object()
	if !ok {
		return
	}
	text, ok := r.content(id)
	if !ok {
		return
	}
	file := path.Join(r.dir, r.run.str("config"))
	have := map[string]bool{r.run.str("root-volume"): true}
	volumes, _ := asArray(r.run["volumes"])
	for _, raw := range volumes {
		s, _ := asString(raw)
		have[s] = true
	}
	storage, _ := asObject(r.run["storage"])
	for key := range storage {
		have[key] = true
	}
	for name := range have { // "dm:root.squashfs" is mounted as root.squashfs
		if _, after, ok := strings.Cut(name, ":"); ok {
			have[after] = true
		}
	}
	network, _ := asObject(r.run["network"])
	missing := map[string]bool{}
	line := 0
	for text := range strings.Lines(string(text)) {
		line++
		if strings.HasPrefix(strings.TrimSpace(text), "#") {
			continue
		}
		at := diag.Position{File: file, Line: line}
		for _, m := range volumePath.FindAllStringSubmatch(text, -1) {
			if m[1] == r.dir && !have[m[2]] && !missing[m[2]] {
				missing[m[2]] = true
				r.findings = append(r.findings, diag.Diagnostic{Pos: at, Severity: diag.Error, Rule: "conf-volume",
					Message: fmt.Sprintf("the volume %q is neither a volume nor a storage of run.json: the mount fails", m[2])})
			}
		}
		if network.str("pool") != "" && strings.HasPrefix(strings.TrimSpace(text), "lxc.net.") {
			r.findings = append(r.findings, diag.Diagnostic{Pos: at, Severity: diag.Error, Rule: "conf-network",
				Message: "run.json asks for a network pool, and devices refuse a pool beside lxc.net settings"})
		}
	}
}
