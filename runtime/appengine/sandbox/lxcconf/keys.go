package lxcconf

import (
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/pvrexport/manifest"
)

type setter func(p *parser, value string)

type prefixSetter struct {
	name string
	set  func(p *parser, rest, value string)
}

// exact holds the keys with one meaning each. An empty value goes back to the
// default, as in lxc.
var exact = map[string]setter{
	"lxc.rootfs.path": (*parser).rootfs,
	"lxc.init.cmd":    (*parser).initCmd,
	"lxc.init.cwd": func(p *parser, v string) {
		if v != "" && !path.IsAbs(v) {
			p.bad("%q is not an absolute path", shorten(v))
			return
		}
		p.c.Init.Dir = path.Clean("/" + v)
	},
	"lxc.init.uid":            func(p *parser, v string) { p.c.Init.UID = uint32(p.number(v, math.MaxUint32-1, 0)) },
	"lxc.init.gid":            func(p *parser, v string) { p.c.Init.GID = uint32(p.number(v, math.MaxUint32-1, 0)) },
	"lxc.init.groups":         (*parser).groups,
	"lxc.environment":         (*parser).environment,
	"lxc.environment.runtime": (*parser).environment,
	"lxc.uts.name":            func(p *parser, v string) { p.c.Hostname = p.hostname(v) },
	"lxc.mount.auto":          (*parser).auto,
	"lxc.mount.entry":         (*parser).mount,
	"lxc.cap.drop":            (*parser).capDrop,
	"lxc.cap.keep":            (*parser).capKeep,
	"lxc.no_new_privs":        func(p *parser, v string) { p.c.NoNewPrivs = p.yes(v, false) },
	"lxc.signal.halt":         func(p *parser, v string) { p.c.Halt = p.signal(v, p.c.Halt) },
	"lxc.signal.stop":         func(p *parser, v string) { p.c.Stop = p.signal(v, p.c.Stop) },
	"lxc.tty.max":             func(p *parser, v string) { p.c.TTYs = int(p.number(v, 256, 0)) },
	"lxc.pty.max":             func(p *parser, v string) { p.c.PTYs = int(p.number(v, math.MaxInt32, 0)) },
	"lxc.autodev":             func(p *parser, v string) { p.c.Autodev = p.yes(v, false) },
	"lxc.autodev.tmpfs.size":  func(p *parser, v string) { p.c.AutodevMax = p.number(v, math.MaxInt64, 500000) },
	"lxc.console.path":        (*parser).console,
	"lxc.namespace.keep":      func(p *parser, v string) { p.c.keep = p.namespaces(p.c.keep, v) },
	"lxc.namespace.clone":     func(p *parser, v string) { p.c.clone = p.namespaces(p.c.clone, v) },
	"lxc.net":                 func(p *parser, v string) { p.c.Net = nil },
	"lxc.include":             func(p *parser, v string) { p.warn("a file outside the export is not read: ignored") },
	"lxc.idmap":               func(p *parser, v string) { p.warn("is not supported: the rootless mode makes its own mapping") },
	"lxc.mount.fstab": func(p *parser, v string) {
		p.warn("a file outside the export is not read: write lxc.mount.entry lines")
	},
	"lxc.rootfs.mount":   func(p *parser, v string) { p.warn("the runtime chooses where it mounts: ignored") },
	"lxc.rootfs.options": func(p *parser, v string) { p.warn("is not supported: ignored") },
	"lxc.signal.reboot": func(p *parser, v string) {
		p.signal(v, 0)
		p.warn("a container is started again by its lifecycle: ignored")
	},
}

// prefixes are tried in order; the longer ones come first.
var prefixes = []prefixSetter{
	{"lxc.cgroup2.", func(p *parser, rest, v string) { p.cgroup(2, rest, v) }},
	{"lxc.cgroup.", func(p *parser, rest, v string) {
		switch {
		case rest == "relative": // ours always are
		case rest == "dir" || strings.HasPrefix(rest, "dir."):
			p.warn("the runtime names the cgroups: ignored")
		default:
			p.cgroup(1, rest, v)
		}
	}},
	{"lxc.prlimit.", (*parser).prlimit},
	{"lxc.sysctl.", func(p *parser, rest, v string) { p.c.Sysctl = append(p.c.Sysctl, Setting{0, rest, v, p.line}) }},
	{"lxc.net.", (*parser).net},
	{"lxc.hook.", unless("hooks are not run", "version")},
	{"lxc.seccomp.", unless("seccomp is not set up: the container may use every system call", "allow_nesting")},
	{"lxc.apparmor.", unless("AppArmor is not set up", "allow_nesting", "allow_incomplete", "unconfined", "unchanged")},
	{"lxc.selinux.", unless("SELinux is not set up")},
	{"lxc.log.", func(p *parser, _, _ string) { p.warn("the runtime has its own log: ignored") }},
	{"lxc.console.", func(p *parser, _, _ string) { p.warn("the runtime keeps the console's log: ignored") }},
	{"lxc.namespace.share.", func(p *parser, _, _ string) { p.warn("namespaces are not shared between containers: ignored") }},
	{"lxc.start.", func(p *parser, _, _ string) { p.warn("groups and goals say what starts: ignored") }},
}

// unless warns about keys of something that we do not do, but not where a value
// is empty, or a key or value among the others asks for nothing.
func unless(message string, nothing ...string) func(p *parser, rest, value string) {
	return func(p *parser, rest, value string) {
		if value != "" && !slices.Contains(nothing, rest) && !slices.Contains(nothing, value) {
			p.warn("%s: %q ignored", message, shorten(value))
		}
	}
}

func (p *parser) rootfs(v string) {
	p.c.Rootfs = Rootfs{}
	if v == "" {
		return
	}
	kind, rest, typed := strings.Cut(v, ":")
	if strings.HasPrefix(v, "/") {
		kind, rest, typed = "dir", v, true
	}
	parts := strings.Split(rest, ":")
	for _, part := range parts {
		if !path.IsAbs(part) {
			p.bad("%q is not an absolute path", shorten(part))
			return
		}
	}
	switch {
	case !typed:
		p.bad("got %q, want overlayfs:lower:upper or a directory", shorten(v))
	case kind == "overlayfs" || kind == "overlay":
		if len(parts) < 2 {
			p.bad("%q names one path, want overlayfs:lower:upper", shorten(v))
			return
		}
		n := len(parts) - 1
		p.c.Rootfs = Rootfs{Lower: parts[:n], Upper: parts[n]}
	case kind == "dir" && len(parts) == 1:
		p.c.Rootfs = Rootfs{Lower: parts}
	default:
		p.bad("the type %q is not supported: want overlayfs or dir", shorten(kind))
	}
}

func (p *parser) initCmd(v string) {
	args, err := manifest.SplitCommand(v)
	switch {
	case err != nil:
		p.bad("%v", err)
	case len(args) == 0:
		p.c.Init.Args = []string{"/sbin/init"}
	case args[0] == "":
		p.bad("the first word, the program, is empty")
	default:
		p.c.Init.Args = args
	}
}

func (p *parser) groups(v string) {
	p.c.Init.Groups = nil
	for _, f := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' }) {
		p.c.Init.Groups = append(p.c.Init.Groups, uint32(p.number(f, math.MaxUint32-1, 0)))
	}
}

func (p *parser) environment(v string) {
	name, _, ok := strings.Cut(v, "=")
	switch {
	case v == "":
		p.c.Env = nil
	case !ok:
		p.warn("%q has no value, and the host's environment is not handed on: ignored", shorten(v))
	case name == "":
		p.bad("%q has no name before the \"=\"", shorten(v))
	default:
		p.c.Env = append(p.c.Env, v)
	}
}

func (p *parser) hostname(v string) string {
	if len(v) > 64 {
		p.bad("%q is longer than the 64 bytes that Linux takes", shorten(v))
		return ""
	}
	return v
}

func (p *parser) console(v string) {
	p.c.NoConsole = v == "none"
	if v != "" && v != "none" && v != "auto" {
		p.warn("only \"none\" is supported: the console goes to the log")
	}
}

// yes reads lxc's switches, which are 0 and 1.
func (p *parser) yes(v string, empty bool) bool {
	switch v {
	case "":
		return empty
	case "0", "1":
		return v == "1"
	}
	p.bad("got %q, want 0 or 1", shorten(v))
	return false
}

func (p *parser) number(v string, most, empty int64) int64 {
	if v == "" {
		return empty
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || n > most {
		p.bad("got %q, want a number from 0 to %d", shorten(v), most)
		return empty
	}
	return n
}

// namespaces adds to what earlier lines have named, as lxc does.
func (p *parser) namespaces(out []string, v string) []string {
	if v == "" {
		return nil
	}
	known := []string{"mnt", "pid", "uts", "ipc", "net", "cgroup", "user", "time"}
	for _, name := range strings.Fields(v) {
		if name == "mount" { // lxc.container.conf(5) says it like this
			name = "mnt"
		}
		if !slices.Contains(known, name) {
			p.bad("%q is no namespace: want some of %s", shorten(name), strings.Join(known, ", "))
			continue
		}
		out = append(out, name)
	}
	return out
}

func (p *parser) cgroup(version int, key, value string) {
	if strings.ContainsAny(key, "/ \t") || key == "." || key == ".." || !strings.Contains(key, ".") {
		p.bad("%q is not the name of a cgroup's file", shorten(key))
		return
	}
	p.c.Cgroup = append(p.c.Cgroup, Setting{version, key, value, p.line})
}
