// Package mdev decides which of the machine's devices a container sees, by the
// rules of its mdev.json. The rules are those of busybox (docs/mdev.txt):
//
//	[-][$VAR=]REGEX USER:GROUP MODE [=PATH|>PATH|!] [COMMAND]
//	[-]@MAJOR[,MINOR[-MINOR]] USER:GROUP MODE ...
//
// The first rule that matches a device's whole name decides, unless it starts
// with "-". Unlike with mdev a device that no rule names is not made, and
// commands are not run.
package mdev

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Device is one of the machine's.
type Device struct {
	Name         string // below /dev
	Block        bool
	Major, Minor uint32
	Env          map[string]string // its uevent file
}

// Node is a device node in a container.
type Node struct {
	Path         string // below /dev
	Block        bool
	Major, Minor uint32
	UID, GID     uint32
	Mode         uint32
}

type rule struct {
	goOn      bool
	variable  string
	name      *regexp.Regexp
	byNumber  bool
	major     uint32
	low, high uint32
	uid, gid  uint32
	mode      uint32
	kind      byte // 0, '=', '>' or '!'
	path      string
}

// Rules are those of one container.
type Rules []rule

// Parse reads rules. Users and groups are numbers, or root.
func Parse(lines []string) (Rules, error) {
	var out Rules
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		r, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("mdev: rule %d %q: %w", i+1, line, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func parse(line string) (r rule, err error) {
	f := strings.Fields(line)
	if len(f) < 3 {
		return r, fmt.Errorf("want \"regex user:group mode\"")
	}
	pattern, goOn := strings.CutPrefix(f[0], "-")
	r.goOn = goOn
	if rest, ok := strings.CutPrefix(pattern, "$"); ok {
		r.variable, pattern, ok = strings.Cut(rest, "=")
		if !ok {
			return r, fmt.Errorf("%q has no \"=\"", f[0])
		}
	}
	if numbers, ok := strings.CutPrefix(pattern, "@"); ok {
		r.byNumber = true
		err = r.numbers(numbers)
	} else {
		r.name, err = regexp.Compile("^(?:" + pattern + ")$")
	}
	if err != nil {
		return r, err
	}
	user, group, ok := strings.Cut(f[1], ":")
	if !ok {
		return r, fmt.Errorf("%q is not user:group", f[1])
	}
	if r.uid, err = id(user); err != nil {
		return r, err
	}
	if r.gid, err = id(group); err != nil {
		return r, err
	}
	mode, err := strconv.ParseUint(f[2], 8, 12)
	if err != nil {
		return r, fmt.Errorf("%q is no mode: want octal digits", f[2])
	}
	r.mode = uint32(mode)
	if len(f) > 3 && strings.ContainsRune("=>!", rune(f[3][0])) {
		r.kind, r.path = f[3][0], f[3][1:]
	}
	return r, nil
}

func (r *rule) numbers(s string) error {
	major, minors, some := strings.Cut(s, ",")
	n, err := strconv.ParseUint(major, 10, 32)
	if err != nil {
		return fmt.Errorf("%q is no major number", major)
	}
	r.major, r.low, r.high = uint32(n), 0, ^uint32(0)
	if !some {
		return nil
	}
	low, high, ranged := strings.Cut(minors, "-")
	if !ranged {
		high = low
	}
	a, err1 := strconv.ParseUint(low, 10, 32)
	b, err2 := strconv.ParseUint(high, 10, 32)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("%q is no minor number", minors)
	}
	r.low, r.high = uint32(a), uint32(b)
	return nil
}

// id reads a number. Names would be looked up in the image's files, which mdev
// on the host does not do either; root is the same everywhere.
func id(s string) (uint32, error) {
	if s == "root" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no user or group: want a number or root", s)
	}
	return uint32(n), nil
}

func (r *rule) matches(d Device) bool {
	switch {
	case r.byNumber:
		return d.Major == r.major && d.Minor >= r.low && d.Minor <= r.high
	case r.variable != "":
		v, ok := d.Env[r.variable]
		return ok && r.name.MatchString(v)
	}
	return r.name.MatchString(d.Name)
}

// Apply gives the nodes, by path.
func (rules Rules) Apply(devices []Device) []Node {
	nodes := map[string]Node{}
	for _, d := range devices {
		for _, r := range rules {
			if !r.matches(d) {
				continue
			}
			n := Node{d.Name, d.Block, d.Major, d.Minor, r.uid, r.gid, r.mode}
			if r.kind == '=' || r.kind == '>' {
				n.Path = r.path
				if strings.HasSuffix(r.path, "/") {
					n.Path += path.Base(d.Name)
				}
			}
			n.Path = strings.TrimPrefix(path.Clean("/"+n.Path), "/")
			if n.Path != "" && r.kind != '!' {
				nodes[n.Path] = n
			}
			if !r.goOn {
				break
			}
		}
	}
	out := make([]Node, 0, len(nodes))
	for _, n := range nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b Node) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// Scan lists the devices of the machine from sysfs, which is mounted at root.
func Scan(root string) ([]Device, error) {
	var out []Device
	for _, kind := range []string{"char", "block"} {
		dir := filepath.Join(root, "dev", kind)
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		for _, e := range entries {
			if d, ok := read(dir, e, kind == "block"); ok {
				out = append(out, d)
			}
		}
	}
	return out, nil
}

func read(dir string, e fs.DirEntry, block bool) (Device, bool) {
	data, err := os.ReadFile(filepath.Join(dir, e.Name(), "uevent"))
	if err != nil {
		return Device{}, false // it went away meanwhile
	}
	d := Device{Block: block, Env: map[string]string{}}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			d.Env[k] = v
		}
	}
	major, err1 := strconv.ParseUint(d.Env["MAJOR"], 10, 32)
	minor, err2 := strconv.ParseUint(d.Env["MINOR"], 10, 32)
	d.Name, d.Major, d.Minor = d.Env["DEVNAME"], uint32(major), uint32(minor)
	if sub, err := os.Readlink(filepath.Join(dir, e.Name(), "subsystem")); err == nil {
		d.Env["SUBSYSTEM"] = filepath.Base(sub)
	}
	return d, err1 == nil && err2 == nil && d.Name != ""
}
