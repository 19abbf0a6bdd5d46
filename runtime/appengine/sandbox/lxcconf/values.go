package lxcconf

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mount reads a line of fstab(5): source, target, type, options, and two
// numbers that nobody reads. Octal escapes (\040) stand for blanks.
func (p *parser) mount(v string) {
	if v == "" {
		p.c.Mounts = nil
		return
	}
	f := strings.Fields(v)
	if len(f) < 3 || len(f) > 6 {
		p.bad("%q has %d fields, want \"source target type options 0 0\"", shorten(v), len(f))
		return
	}
	m := Mount{Source: unescape(f[0]), Target: unescape(f[1]), Type: f[2], Line: p.line}
	if len(f) > 3 && f[3] != "defaults" {
		m.Options = strings.FieldsFunc(unescape(f[3]), func(r rune) bool { return r == ',' })
	}
	if reason := checkTarget(m.Target); reason != "" {
		p.bad("the target %q %s", shorten(m.Target), reason)
		return
	}
	if m.Has("create=dir") && m.Has("create=file") {
		p.bad("it has create=dir and create=file: use one of them")
		return
	}
	p.c.Mounts = append(p.c.Mounts, m)
}

// checkTarget says what is wrong with a mount's target, "" if nothing is.
func checkTarget(target string) string {
	switch clean := path.Clean("/" + target); {
	case clean == "/":
		return "is the root itself"
	case slices.Contains(strings.Split(target, "/"), ".."):
		return "holds \"..\""
	}
	return ""
}

// unescape resolves the octal escapes of fstab(5).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil && n != 0 {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// auto reads lxc.mount.auto (confile.c, set_config_mount_auto).
func (p *parser) auto(v string) {
	if v == "" {
		p.c.Auto = AutoMounts{}
	}
	for _, token := range strings.Fields(v) {
		kind, mode, _ := strings.Cut(strings.TrimSuffix(token, ":force"), ":")
		m, ok := map[string]Mode{"": Mixed, "mixed": Mixed, "ro": ReadOnly, "rw": ReadWrite}[mode]
		switch {
		case kind == "shmounts":
			p.warn("%q is not supported: ignored", shorten(token))
		case ok && kind == "proc" && m != ReadOnly:
			p.c.Auto.Proc = m
		case ok && kind == "sys":
			p.c.Auto.Sys = m
		case ok && (kind == "cgroup" || kind == "cgroup-full"), ok && kind == "cgroup2" && mode != "mixed":
			p.c.Auto.Cgroup = m
		default:
			p.bad("%q is no automatic mount: want proc, sys or cgroup, alone or with :mixed, :ro or :rw", shorten(token))
		}
	}
}

func (p *parser) capDrop(v string) {
	switch {
	case v == "":
		p.c.Caps = Caps{}
	case p.c.Caps.Keeps:
		p.bad("it cannot stand beside lxc.cap.keep: use one of them")
	default:
		p.c.Caps.Drop = append(p.c.Caps.Drop, p.caps(v)...)
	}
}

func (p *parser) capKeep(v string) {
	switch {
	case v == "":
		p.c.Caps = Caps{}
		return
	case len(p.c.Caps.Drop) > 0:
		p.bad("it cannot stand beside lxc.cap.drop: use one of them")
		return
	}
	p.c.Caps.Keeps = true
	for _, name := range strings.Fields(v) {
		if name == "none" {
			p.c.Caps.Keep = nil
			continue
		}
		p.c.Caps.Keep = append(p.c.Caps.Keep, p.caps(name)...)
	}
}

func (p *parser) caps(v string) []string {
	var out []string
	for _, name := range strings.Fields(v) {
		name = strings.TrimPrefix(strings.ToLower(name), "cap_")
		if _, ok := capability(name); !ok {
			p.bad("%q is no capability: capabilities(7) has the names", shorten(name))
			continue
		}
		out = append(out, name)
	}
	return out
}

// Numbers returns the capabilities of a list as numbers, sorted.
func Numbers(names []string) []int {
	var out []int
	for _, name := range names {
		if n, ok := capability(name); ok {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// capability knows names and, like lxc, plain numbers.
func capability(name string) (int, bool) {
	if n := slices.Index(capNames, name); n >= 0 {
		return n, true
	}
	n, err := strconv.Atoi(name)
	return n, err == nil && n >= 0 && n < 64
}

// capNames is linux/capability.h, in the order of the numbers.
var capNames = []string{
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
	"setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
	"sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
	"sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
	"mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
}

// signal reads a name as kill(1) takes it, SIGRTMIN+n, SIGRTMAX-n or a number.
func (p *parser) signal(v string, fallback syscall.Signal) syscall.Signal {
	if v == "" {
		return fallback
	}
	if s, ok := parseSignal(v); ok {
		return s
	}
	p.bad("%q is no signal: want a name such as SIGTERM, SIGRTMIN+3 or a number", shorten(v))
	return fallback
}

func parseSignal(v string) (syscall.Signal, bool) {
	const rtMin, rtMax = 34, 64 // glibc and musl keep 32 and 33 for themselves
	if n, err := strconv.Atoi(v); err == nil {
		return syscall.Signal(n), n > 0 && n <= rtMax
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(v), "SIG")
	if s := unix.SignalNum(name); s != 0 {
		return s, true
	}
	base, off := 0, ""
	if rest, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		base, off = rtMin, rest
	} else if rest, ok := strings.CutPrefix(name, "SIGRTMAX"); ok {
		base, off = rtMax, rest
	}
	n := 0
	if off != "" {
		var err error
		if n, err = strconv.Atoi(off); err != nil || off[0] != '+' && off[0] != '-' {
			return 0, false
		}
	}
	s := base + n
	return syscall.Signal(s), base != 0 && s >= rtMin && s <= rtMax
}

// rlimits are the names of getrlimit(2), lower-case and without "RLIMIT_".
var rlimits = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
	"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK,
	"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE,
	"nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
	"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

func (p *parser) prlimit(name, v string) {
	resource, ok := rlimits[name]
	if !ok {
		p.bad("%q is no resource: getrlimit(2) has the names, as in lxc.prlimit.nofile", shorten(name))
		return
	}
	p.c.Rlimits = slices.DeleteFunc(p.c.Rlimits, func(l Rlimit) bool { return l.Resource == resource })
	if v == "" {
		return
	}
	low, high, two := strings.Cut(v, ":")
	if !two {
		high = low
	}
	soft, err1 := limit(low)
	hard, err2 := limit(high)
	if err1 != nil || err2 != nil || soft > hard {
		p.bad("got %q, want a number, \"unlimited\" or soft:hard with soft not above hard", shorten(v))
		return
	}
	p.c.Rlimits = append(p.c.Rlimits, Rlimit{name, resource, soft, hard, p.line})
}

func limit(s string) (uint64, error) {
	if s = strings.TrimSpace(s); s == "unlimited" {
		return Unlimited, nil
	}
	return strconv.ParseUint(s, 10, 64)
}

// net reads lxc.net.N.KEY.
func (p *parser) net(rest, v string) {
	index, key, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(index)
	if err != nil || n < 0 || n > 255 {
		p.bad("%q is no interface's number", shorten(index))
		return
	}
	i := slices.IndexFunc(p.c.Net, func(x Interface) bool { return x.Index == n })
	if i < 0 {
		i = len(p.c.Net)
		p.c.Net = append(p.c.Net, Interface{Index: n, Line: p.line})
	}
	if f, ok := netKeys[key]; ok {
		f(p, &p.c.Net[i], v)
		return
	}
	p.warn("is not supported: ignored")
}

var netKeys = map[string]func(p *parser, i *Interface, v string){
	"type": func(p *parser, i *Interface, v string) {
		known := []string{"veth", "empty", "none", "phys", "macvlan", "ipvlan", "vlan"}
		if !slices.Contains(known, v) {
			p.bad("%q is no network type: want one of %s", shorten(v), strings.Join(known, ", "))
		}
		i.Type = v
	},
	"link":         func(_ *parser, i *Interface, v string) { i.Link = v },
	"name":         func(p *parser, i *Interface, v string) { i.Name = p.ifname(v) },
	"flags":        func(_ *parser, i *Interface, v string) { i.Up = v == "up" },
	"hwaddr":       func(_ *parser, i *Interface, v string) { i.HWAddr = v },
	"mtu":          func(p *parser, i *Interface, v string) { i.MTU = int(p.number(v, 65535, 0)) },
	"ipv4.address": func(_ *parser, i *Interface, v string) { i.IPv4 = add(i.IPv4, v) },
	"ipv6.address": func(_ *parser, i *Interface, v string) { i.IPv6 = add(i.IPv6, v) },
	"ipv4.gateway": func(_ *parser, i *Interface, v string) { i.Gateway4 = v },
	"ipv6.gateway": func(_ *parser, i *Interface, v string) { i.Gateway6 = v },
}

func (p *parser) ifname(v string) string {
	if len(v) >= unix.IFNAMSIZ || strings.ContainsAny(v, "/ \t") || v == "." || v == ".." {
		p.bad("%q is no interface's name: at most %d bytes without \"/\" and blanks", shorten(v), unix.IFNAMSIZ-1)
		return ""
	}
	return v
}

func add(list []string, v string) []string {
	if v == "" {
		return nil
	}
	return append(list, v)
}
