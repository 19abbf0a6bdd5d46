package manifest

import (
	"fmt"
	"regexp"
	"strings"
)

// conf gathers the lines of lxc.container.conf. Every value passes through add,
// which is where a value that could start a line of its own is stopped.
type conf struct {
	*checker
	text strings.Builder
}

func (f *conf) add(at, key, value string) { f.line(at, key+" = ", confValue(value)) }

// line writes a line as it is; head and value are apart only for the check.
func (f *conf) line(at, head, value string) {
	if control(value) {
		f.bad(at, "%s: the value %q holds a line break or another control character", strings.TrimRight(head, " ="), shorten(value))
		return
	}
	f.text.WriteString(head)
	f.text.WriteString(value)
	f.text.WriteByte('\n')
}

func (f *conf) mount(at, format string, args ...any) {
	f.add(at, "lxc.mount.entry", fmt.Sprintf(format, args...)+" 0 0")
}

// lxcConf renders lxc.container.conf. The order and the odd blanks are those of
// pvr's template (constant LXC_CONTAINER_CONF), so that a container built by
// either has the same file.
func (r *renderer) lxcConf() []byte {
	f := &conf{checker: r.checker}
	r.confLimits(f)
	r.confProcess(f)
	r.confKernel(f)
	r.confMounts(f)
	for _, arg := range []struct{ name, key string }{{"PV_LXC_CAP_DROP", "lxc.cap.drop"}, {"PV_LXC_CAP_KEEP", "lxc.cap.keep"}} {
		for _, entry := range r.args.list(arg.name) {
			f.add("args."+arg.name, arg.key, strings.ToLower(entry))
		}
	}
	r.confNetwork(f)
	if extra := r.args.text("PV_LXC_EXTRA_CONF"); extra != "" {
		f.text.WriteString(extra + "\n") // raw on purpose; checkExtraConf has seen it
	}
	r.confImports(f)
	return []byte(f.text.String())
}

func (r *renderer) confLimits(f *conf) {
	f.add("args.LXC_TTY_MAX", "lxc.tty.max", r.args.textOr("LXC_TTY_MAX", "8"))
	f.add("args.LXC_PTY_MAX", "lxc.pty.max", r.args.textOr("LXC_PTY_MAX", "1024"))
	if r.args.yes("PV_DEBUG_MODE") {
		f.add("name", "lxc.log.file", "/pv/logs/"+r.src.Name+".log")
	}
	const white = "PVR_LXC_CGROUP_DEVICES_WHITE"
	allowed := r.args.list(white)
	if len(allowed) > 0 {
		f.add("", "lxc.cgroup.devices.deny", "a")
	} else {
		allowed = []string{"a"}
	}
	for _, d := range allowed {
		f.add("args."+white, "lxc.cgroup.devices.allow", d)
	}
	for _, limit := range r.args.list("PVR_LXC_CGROUP_V1") {
		f.line("args.PVR_LXC_CGROUP_V1", "lxc.cgroup.", limit)
	}
}

func (r *renderer) confProcess(f *conf) {
	f.add("name", "lxc.rootfs.path", r.rootfsPath())
	f.add("config.Entrypoint", "lxc.init.cmd", r.command())
	if dir := r.configText("WorkingDir"); dir != "" {
		if !strings.HasPrefix(dir, "/") {
			r.warn("config.WorkingDir", "WorkingDir: %q does not start with \"/\"", shorten(dir))
		}
		f.add("config.WorkingDir", "lxc.init.cwd", dir)
	}
	for _, env := range r.configTexts("Env") {
		r.environment("config.Env", "Env", env)
		f.add("config.Env", "lxc.environment", env)
	}
	for _, env := range r.args.list("PV_LXC_EXTRA_ENV") {
		f.add("args.PV_LXC_EXTRA_ENV", "lxc.environment", env)
	}
}

// rootfsPath names the layers of the root overlay, the upper one last.
func (r *renderer) rootfsPath() string {
	below := r.src.Name
	if r.src.Base != "" {
		below = r.src.Base
	}
	p := "overlayfs:"
	if r.src.Docker.OvlDigest != "" {
		p += "/volumes/" + r.src.Name + "/root.ovl.squashfs:"
	}
	return p + "/volumes/" + below + "/root.squashfs:/volumes/" + r.src.Name + "/lxc-overlay/upper"
}

func (r *renderer) confKernel(f *conf) {
	keep := "user  net  ipc"
	if t := r.args.textOr("PV_LXC_NETWORK_TYPE", "host"); t != "host" {
		keep = "user  ipc"
	}
	f.add("args.PV_LXC_NAMESPACE_KEEP", "lxc.namespace.keep", r.args.textOr("PV_LXC_NAMESPACE_KEEP", keep))
	if r.args.yes("PV_LXC_DISABLE_CONSOLE") {
		f.add("", "lxc.console.path", "none")
	}
	// Not through add: an empty part leaves blanks that must not be quoted.
	f.line("args.LXC_MOUNT_AUTO_PROC", "lxc.mount.auto = ", r.args.textOr("LXC_MOUNT_AUTO_PROC", "proc")+"  "+
		r.args.textOr("LXC_MOUNT_AUTO_SYS", "sys:rw")+"  "+r.args.textOr("LXC_MOUNT_AUTO_GROUP", "cgroup"))
	if r.args.yes("PV_DISABLE_AUTODEV") {
		f.add("", "lxc.autodev", "0")
	}
}

func (r *renderer) confMounts(f *conf) {
	for _, m := range []struct{ arg, from, to string }{
		{"PV_SECURITY_FULLDEV", "/dev/", "dev"},
		{"PV_SECURITY_WITH_HOST", "/", "host"},
		{"PV_SECURITY_WITH_HOSTPROC", "/proc/", "host/proc"},
		{"PV_SECURITY_WITH_STORAGE", "/storage", "storage"},
	} {
		if r.args.yes(m.arg) {
			f.mount("args."+m.arg, "%s %s none bind,rw,create=dir", m.from, m.to)
		}
	}
	target := func(arg, fallback string) string {
		return r.mountPath("args."+arg, arg, r.args.textOr(arg, fallback))
	}
	if !r.args.yes("PV_RESOLV_CONF_DISABLE") {
		f.mount("args.PV_RESOLV_CONF_PATH", "/etc/resolv.conf %s none bind,rw,create=file", target("PV_RESOLV_CONF_PATH", "etc/resolv.conf"))
	}
	if !r.args.yes("PV_RUN_TMPFS_DISABLE") {
		f.mount("args.PV_RUN_TMPFS_PATH", "tmpfs %s tmpfs rw,nodev,relatime,create=dir,mode=755", target("PV_RUN_TMPFS_PATH", "run"))
	}
	for _, v := range r.storage {
		dir := "/volumes/" + r.src.Name + "/" + v.name
		switch {
		case v.path == "":
		case v.overlay:
			f.mount(v.at, "%s %s overlay lowerdir=/volumes/%s/root.squashfs/%s,upperdir=%s/upper,workdir=%s/work,create=dir",
				dir, v.path, r.src.Name, v.path, dir, dir)
		default:
			f.mount(v.at, "%s %s none bind,rw,create=dir", dir, v.path)
		}
	}
}

func (r *renderer) confNetwork(f *conf) {
	kind := r.args.textOr("PV_LXC_NETWORK_TYPE", "host")
	if kind == "host" {
		return
	}
	f.add("", "lxc.net.0.type", kind)
	switch kind {
	case "phys":
		// pvr writes no blank behind this one "=".
		f.line("args.PV_LXC_NETWORK_LINK", "lxc.net.0.link =", r.args.text("PV_LXC_NETWORK_LINK"))
	case "veth":
		f.add("", "lxc.net.0.link", "lxcbr0")
		f.add("", "lxc.net.0.flags", "up")
		if a := r.args.text("PV_LXC_NETWORK_IPV4_ADDRESS"); a != "" {
			f.add("args.PV_LXC_NETWORK_IPV4_ADDRESS", "lxc.net.0.ipv4.address", a)
			f.add("args.PV_LXC_NETWORK_IPV4_GATEWAY", "lxc.net.0.ipv4.gateway", r.args.textOr("PV_LXC_NETWORK_IPV4_GATEWAY", "auto"))
		}
	}
}

func (r *renderer) confImports(f *conf) {
	const files, configs, mounts = "PV_FILEIMPORTS", "PV_IMPORT_CONFIGVOLUMES", "PV_VOLUME_MOUNTS"
	for _, p := range r.args.pairs(files) {
		r.mountPath("args."+files, files+": the source", p.from)
		f.mount("args."+files, "/exports/%s %s none bind,rw,create=file", p.from, r.mountPath("args."+files, files+": the target", p.to))
	}
	for _, p := range r.args.pairs(configs) {
		r.name("args."+configs, configs+": the container", p.from)
		f.mount("args."+configs, "/volumes/%s/%s %s none bind,rw,create=dir,optional,noexec", p.from, r.src.Name, r.mountPath("args."+configs, configs+": the target", p.to))
	}
	for _, p := range r.args.pairs(mounts) {
		r.name("args."+mounts, mounts+": the volume", p.from)
		f.mount("args."+mounts, "/volumes/%s/%s %s none bind,rw,create=dir", r.src.Name, p.from, r.mountPath("args."+mounts, mounts+": the target", p.to))
	}
	for _, entry := range r.args.list("PV_VOLUME_IMPORTS") {
		r.volumeImport(f, entry)
	}
}

// mountMode is one or more mount options.
var mountMode = regexp.MustCompile(`^[a-z0-9_=]+(,[a-z0-9_=]+)*$`)

// volumeImport reads "container:[sub@]volume:target[:mode]".
func (r *renderer) volumeImport(f *conf, entry string) {
	const arg, at = "PV_VOLUME_IMPORTS", "args.PV_VOLUME_IMPORTS"
	parts := strings.SplitN(entry, ":", 4)
	if len(parts) < 3 {
		r.bad(at, "%s: got %q, want \"container:[sub@]volume:target[:mode]\"", arg, shorten(entry))
		return
	}
	if !r.name(at, arg+": the container", parts[0]) {
		return
	}
	sub, volume, hasSub := strings.Cut(parts[1], "@")
	if !hasSub {
		sub, volume = "", parts[1]
	}
	from := "/volumes/" + parts[0] + "/" + storageName("docker-", volume)
	r.mountPath(at, arg+": the volume", volume)
	if sub != "" {
		r.mountPath(at, arg+": the folder", sub)
		from += "/" + sub
	}
	mode := "rw"
	if len(parts) == 4 {
		mode = parts[3]
	}
	if !mountMode.MatchString(mode) {
		r.bad(at, "%s: %q is not a mount mode: want rw, ro or mount options with commas between them", arg, shorten(mode))
	}
	f.mount(at, "%s %s none bind,%s,create=dir", from, r.mountPath(at, arg+": the target", parts[2]), mode)
}

// configText and configTexts read members of the image configuration.
func (r *renderer) configText(key string) string {
	v, ok := r.config[key]
	s, isText := v.(string)
	if ok && !isText {
		r.bad("config."+key, "%s: got %s, want a text", key, describe(v))
	}
	return s
}

func (r *renderer) configTexts(key string) []string {
	v, ok := r.config[key]
	if !ok {
		return nil
	}
	list, isList := v.([]any)
	if !isList {
		r.bad("config."+key, "%s: got %s, want a list of strings", key, describe(v))
	}
	var out []string
	for i, e := range list {
		s, isText := e.(string)
		if !isText {
			r.bad("config."+key, "%s: element %d is %s, want a text", key, i+1, describe(e))
			continue
		}
		out = append(out, s)
	}
	return out
}
