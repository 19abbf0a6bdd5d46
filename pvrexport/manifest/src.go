package manifest

import (
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

func (r *renderer) checkNetwork() {
	kind, pool := r.args.text("PV_LXC_NETWORK_TYPE"), r.args.has("PV_NETWORK_POOL")
	extra := false
	for line := range strings.SplitSeq(r.args.text("PV_LXC_EXTRA_CONF"), "\n") {
		extra = extra || strings.HasPrefix(strings.TrimLeft(line, " \t"), "lxc.net.")
	}
	switch {
	case pool && kind != "" && kind != "host":
		r.conflict("args.PV_NETWORK_POOL", "PV_NETWORK_POOL and PV_LXC_NETWORK_TYPE=%s exclude each other: a device refuses a pool beside lxc.net.*", kind)
	case pool && extra:
		r.conflict("args.PV_NETWORK_POOL", "PV_NETWORK_POOL and lxc.net.* in PV_LXC_EXTRA_CONF exclude each other: a device refuses both together")
	case pool && kind == "host":
		r.report(ruleConflict, diag.Warning, "args.PV_LXC_NETWORK_TYPE", "PV_LXC_NETWORK_TYPE=host has no effect beside PV_NETWORK_POOL", "")
	}
	only := func(arg, want string, ok bool) {
		if r.args.has(arg) && !ok {
			r.report(ruleConflict, diag.Warning, "args."+arg, arg+" has no effect without "+want, "")
		}
	}
	only("PV_NETWORK_HOSTNAME", "PV_NETWORK_POOL", pool)
	only("PV_NETWORK_IP", "PV_NETWORK_POOL", pool)
	only("PV_NETWORK_MAC", "PV_NETWORK_POOL", pool)
	only("PV_LXC_NETWORK_LINK", "PV_LXC_NETWORK_TYPE=phys", kind == "phys")
	only("PV_LXC_NETWORK_IPV4_ADDRESS", "PV_LXC_NETWORK_TYPE=veth", kind == "veth")
	only("PV_LXC_NETWORK_IPV4_GATEWAY", "PV_LXC_NETWORK_IPV4_ADDRESS", r.args.has("PV_LXC_NETWORK_IPV4_ADDRESS"))
	if kind == "phys" && !r.args.has("PV_LXC_NETWORK_LINK") {
		r.bad("args.PV_LXC_NETWORK_TYPE", "PV_LXC_NETWORK_TYPE=phys needs PV_LXC_NETWORK_LINK, the interface to move")
	}
	if kind != "" && kind != "host" && slices.Contains(strings.Fields(r.args.text("PV_LXC_NAMESPACE_KEEP")), "net") {
		r.conflict("args.PV_LXC_NAMESPACE_KEEP", "PV_LXC_NAMESPACE_KEEP keeps net, which PV_LXC_NETWORK_TYPE=%s takes away", kind)
	}
}
