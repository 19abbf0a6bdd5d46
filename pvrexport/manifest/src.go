package manifest

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// srcJSON renders src.json, from which pvr can render the container anew. Its
// args are the given ones, except where pvr would read something else out of
// them: words for false are left out (pvr takes every text as true), and
// service names in one text become the list they stand for.
func (r *renderer) srcJSON(given map[string]any) object {
	args := map[string]any{}
	for name, v := range given {
		args[name] = v
		a := find(name)
		switch {
		case a == nil:
		case name == "PV_AUTOMODFW" && r.args.has(name):
			args[name] = yesNo(r.args.yes(name))
		case a.Type == Bool && !r.args.yes(name):
			delete(args, name)
		case a.Type == Services:
			var list []object
			for _, q := range r.args.needs(name) {
				list = append(list, q.object())
			}
			args[name] = list
			if list == nil {
				delete(args, name)
			}
		}
	}
	if r.src.Group != "" {
		args["PV_GROUP"] = r.src.Group
	}

	o := object{{"#spec", "service-manifest-src@1"}}
	o.addText("base", r.src.Base)
	o.add("template", Template)
	addSet := func(key string, v any, size int) {
		if size > 0 {
			o.add(key, v)
		}
	}
	d := r.src.Docker
	addSet("args", args, len(args))
	addSet("dm_enabled", r.src.DMEnabled, len(r.src.DMEnabled))
	addSet("logs", r.logs, len(r.logs))
	addSet("exports", r.src.Exports, len(r.src.Exports))
	o.addText("docker_name", d.Name)
	o.addText("docker_tag", d.Tag)
	o.addText("docker_digest", d.Digest)
	o.addText("docker_ovl_digest", d.OvlDigest)
	o.addText("docker_source", d.Source)
	addSet("docker_config", r.config, len(r.config))
	o.addText("docker_platform", d.Platform)
	o.addText("format_options", d.FormatOptions)
	o.addText("rootfs_url", r.rootfsURL())
	o.addText("rootfs_digest", r.src.RootfsDigest)
	addSet("persistence", r.src.Persistence, len(r.src.Persistence))
	o.addText("pv_build_origin", r.src.BuildOrigin)
	return o
}

// reference is a registry reference with a tag or a digest, so that a relative
// path is not taken for one (distribution/reference grammar, shortened).
var reference = regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$`)

// rootfsURL is what src.json says about the origin of the root filesystem: a
// URL with a host, without credentials, or a registry reference. A path of the
// machine that built the container is nobody's business and would make equal
// builds differ, so it is left out.
func (r *renderer) rootfsURL() string {
	s := r.src.RootfsURL
	if s == "" || reference.MatchString(s) {
		return s
	}
	if u, err := url.Parse(s); err == nil && u.Scheme != "" && u.Scheme != "file" && u.Host != "" && !control(s) {
		u.User = nil
		return u.String()
	}
	r.report(ruleDropped, diag.Note, "rootfs_url", "src.json leaves out rootfs_url: it is neither a URL with a host nor a registry reference", "")
	return ""
}

var sha256Digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// checkSource checks what is not an argument.
func (r *renderer) checkSource() {
	if r.name("name", "the container name", r.src.Name) && slices.Contains(reservedNames, r.src.Name) {
		r.bad("name", "the container name %q is taken: %s", r.src.Name, "it is a folder of every revision")
	}
	if r.src.Base != "" {
		r.name("base", "the base container", r.src.Base)
	}
	if d := r.src.RootfsDigest; d != "" && !sha256Digest.MatchString(d) {
		r.bad("rootfs_digest", "the digest %q of the root filesystem is not sha256: and 64 hexadecimal digits", shorten(d))
	}
	for _, e := range r.src.Exports {
		r.word("exports", "exports: the entry", e)
	}
	for i, l := range r.logs {
		r.checkLog(fmt.Sprintf("logs.%d", i), l.(map[string]any))
	}
	d := r.src.Docker
	for _, s := range []string{r.src.BuildOrigin, d.Name, d.Tag, d.Digest, d.Source, d.Platform, d.FormatOptions, d.OvlDigest} {
		if control(s) {
			r.bad("docker", "%q, a text for src.json, holds a control character", shorten(s))
		}
	}
	for _, volume := range sortedKeys(r.src.DMEnabled) {
		if !nameRule.MatchString(volume) {
			r.bad("dm_enabled", "the volume %q cannot be used in paths: %s", shorten(volume), nameWords)
		}
	}
}

// checkLog checks one logger: a flat object (parser_system1.c, do_action_for_one_log).
func (r *renderer) checkLog(at string, log map[string]any) {
	if len(log) == 0 {
		r.bad(at, "logs: an empty object, which a device refuses with the whole revision")
	}
	for _, key := range sortedKeys(log) {
		r.word(at, "logs: the key", key)
		switch v := log[key].(type) {
		case string:
			r.word(at, "logs: "+key, v)
		case []any, map[string]any:
			r.bad(at, "logs: %s is %s, want a text, a number or a boolean", shorten(key), describe(v))
		}
	}
}

// reservedNames are folders of a revision that are no containers.
var reservedNames = []string{"bsp"}

// checkTogether checks what arguments say together.
func (r *renderer) checkTogether() {
	group, runlevel := r.group(), r.args.text("PV_RUNLEVEL")
	if arg := r.args.text("PV_GROUP"); r.src.Group != "" && arg != "" && arg != r.src.Group {
		r.report(ruleConflict, diag.Warning, "args.PV_GROUP", "the group "+r.src.Group+" replaces PV_GROUP "+arg, "")
	}
	if group != "" && r.word("group", "the group", group) {
		known := r.src.Groups
		if known == nil {
			known = defaultGroups
		}
		if !slices.Contains(known, group) {
			r.report(ruleValue, diag.Warning, "group", "the group "+group+" is not one of "+strings.Join(known, ", ")+
				"; a device that does not have it refuses the revision", nearest(group, known))
		}
	}
	if group != "" && runlevel != "" && group != runlevel {
		r.report(ruleConflict, diag.Warning, "args.PV_RUNLEVEL", "PV_RUNLEVEL "+runlevel+" and group "+group+" differ; devices take the group", "")
	}
	if r.args.has("PV_LXC_CAP_DROP") && r.args.has("PV_LXC_CAP_KEEP") {
		r.conflict("args.PV_LXC_CAP_KEEP", "PV_LXC_CAP_KEEP and PV_LXC_CAP_DROP exclude each other: lxc refuses both together")
	}
	r.checkNetwork()
}
