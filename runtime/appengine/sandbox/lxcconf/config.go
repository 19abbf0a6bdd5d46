// Package lxcconf reads lxc.container.conf, the file in which pvr's template
// (builtin-lxc-docker.go) and our own writer (pvrexport/manifest) say how a
// container runs. The format is that of lxc.container.conf(5); how lines,
// quotes and empty values are read follows confile.c of lxc.
//
// Parse is the way in. What cannot work is an error with its line; what we do
// not do is a named Warning, so nobody wonders why a line had no effect.
package lxcconf

import (
	"fmt"
	"slices"
	"syscall"
)

// Config is a container's configuration. Defaults that lxc has are filled in.
type Config struct {
	Rootfs     Rootfs
	Init       Init
	Env        []string // NAME=value, in the order of the file
	Hostname   string   // "" leaves it to the caller
	Auto       AutoMounts
	Mounts     []Mount
	Caps       Caps
	NoNewPrivs bool
	Halt       syscall.Signal // asks the container to stop; 0 is the runtime's choice
	Stop       syscall.Signal // ends it; SIGKILL by default
	TTYs       int            // how many /dev/ttyN there are
	PTYs       int            // how many pseudo terminals there may be, 0 is the kernel's default
	Autodev    bool           // /dev is a tmpfs of ours
	AutodevMax int64          // its size in bytes
	NoConsole  bool           // lxc.console.path is "none"
	Net        []Interface    // by index
	Rlimits    []Rlimit
	Cgroup     []Setting // in the order of the file
	Sysctl     []Setting
	Warnings   []Warning

	keep, clone []string
}

// Rootfs says what the container's root is made of.
type Rootfs struct {
	Lower []string // the layers, the topmost first; one alone without Upper is the root itself
	Upper string   // where changes go
}

// Init is the container's first process.
type Init struct {
	Args   []string // /sbin/init by default
	Dir    string   // working directory, "/" by default
	UID    uint32
	GID    uint32
	Groups []uint32
}

// Mode is how an automatic mount can be written to.
type Mode uint8

// The modes of lxc.mount.auto. Mixed is writable where it only affects the
// container itself.
const (
	Absent Mode = iota
	Mixed
	ReadOnly
	ReadWrite
)

// AutoMounts is lxc.mount.auto.
type AutoMounts struct {
	Proc, Sys, Cgroup Mode
}

// Mount is one lxc.mount.entry, which has the form of a line of fstab(5).
type Mount struct {
	Source string // a path of the host, a volume's path, or the name of a file system
	Target string // below the container's root, with or without a leading slash
	Type   string // "none" for binds
	// Options are those of mount(8) and of lxc: create=dir, create=file,
	// optional, relative.
	Options []string
	Line    int // 0 for a mount that is not from a file
}

// Has reports whether an option is set.
func (m Mount) Has(option string) bool { return slices.Contains(m.Options, option) }

func (m Mount) String() string { return fmt.Sprintf("mount %s on /%s", m.Source, trimSlash(m.Target)) }

// Caps is lxc.cap.drop or lxc.cap.keep; the names are lower-case and without
// "cap_".
type Caps struct {
	Drop  []string
	Keep  []string
	Keeps bool // Keep counts, also when it is empty
}

// Interface is one lxc.net.N group.
type Interface struct {
	Index    int
	Type     string // veth, empty, none, phys, macvlan, vlan, ipvlan
	Link     string
	Name     string
	Up       bool
	HWAddr   string
	MTU      int
	IPv4     []string // with prefix length
	IPv6     []string
	Gateway4 string // an address, "auto" or "dev"
	Gateway6 string
	Line     int
}

// Unlimited is the Rlimit value without a bound.
const Unlimited = ^uint64(0)

// Rlimit is one lxc.prlimit.NAME.
type Rlimit struct {
	Name       string // "nofile"
	Resource   int
	Soft, Hard uint64
	Line       int
}

// Setting is a file of a cgroup or of /proc/sys and what is to be written to it.
type Setting struct {
	Version int // 1 for lxc.cgroup, 2 for lxc.cgroup2, 0 for lxc.sysctl
	Key     string
	Value   string
	Line    int
}

// Warning is a line that has no effect here, or not the one it would have under
// lxc.
type Warning struct {
	Line    int
	Key     string
	Message string
}

func (w Warning) String() string { return fmt.Sprintf("line %d: %s: %s", w.Line, w.Key, w.Message) }

// Error is a line that cannot be used.
type Error struct {
	Line   int // 0 when it is about the file as a whole
	Key    string
	Reason string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.Key, e.Reason)
	}
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Key, e.Reason)
}

// Namespace is one kind of namespace, by its name in /proc/PID/ns.
type Namespace string

// The namespaces a container can have of its own.
const (
	Mnt    Namespace = "mnt"
	PID    Namespace = "pid"
	UTS    Namespace = "uts"
	IPC    Namespace = "ipc"
	Net    Namespace = "net"
	Cgroup Namespace = "cgroup"
	User   Namespace = "user"
)

// Own reports whether the container gets its own namespace of that kind
// instead of the host's. The user namespace is never asked for by a file that
// has no lxc.idmap.
func (c *Config) Own(n Namespace) bool {
	switch {
	case n == Mnt:
		return true
	case n == Net && slices.ContainsFunc(c.Net, func(i Interface) bool { return i.Type == "none" }):
		return false // lxc.container.conf(5): none shares the host's network
	case len(c.clone) > 0:
		return slices.Contains(c.clone, string(n))
	case n == User:
		return false
	}
	return !slices.Contains(c.keep, string(n))
}
