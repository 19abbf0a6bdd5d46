package container

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// attributes gives a node its owner, capabilities and extended attributes.
func (a *assembly) attributes(n *rootfs.Node, o Owner, caps string, xattrs map[string]string) error {
	if o.Set {
		uid, gid, err := a.owner(o)
		if err != nil {
			return err
		}
		n.UID, n.GID = uid, gid
	}
	for name, value := range xattrs {
		prefix, _, _ := strings.Cut(name, ".")
		if !slices.Contains([]string{"user", "trusted", "security"}, prefix) {
			return fmt.Errorf("extended attribute %q: an image holds user.*, trusted.* and security.* only", name)
		}
		n.SetXattr(name, []byte(value))
	}
	if caps != "" {
		if n.Kind != rootfs.File {
			return fmt.Errorf("capabilities are for files, not for a %s", n.Kind)
		}
		v, err := parseCapabilities(caps)
		if err != nil {
			return err
		}
		n.SetXattr("security.capability", v)
	}
	return nil
}

// rules applies rules to the named paths of the tree. A rule that finds none
// is an error: it was written for something.
func (a *assembly) rules(rules []PathRule, names []string) error {
	for _, r := range rules {
		pattern, err := rootfs.Clean(r.Path)
		if err != nil {
			return fmt.Errorf("rule %s: %w", r.Pos, err)
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("rule %s: pattern %q: %w", r.Pos, r.Path, err)
		}
		hits := 0
		for _, name := range names {
			if !matchPath(pattern, name) || a.tree.Lookup(name) == nil {
				continue
			}
			hits++
			if err := a.rule(r, name); err != nil {
				return fmt.Errorf("rule %s: /%s: %w", r.Pos, name, err)
			}
		}
		if hits == 0 {
			return fmt.Errorf("rule %s: nothing is at %s", r.Pos, r.Path)
		}
	}
	return nil
}

// matchPath matches part by part; a last part ** is everything below.
func matchPath(pattern, name string) bool {
	if below, ok := strings.CutSuffix(pattern, "/**"); ok {
		depth := strings.Count(below, "/") + 1
		parts := strings.Split(name, "/")
		if len(parts) <= depth {
			return false
		}
		pattern, name = below, strings.Join(parts[:depth], "/")
	}
	ok, _ := path.Match(pattern, name)
	return ok || pattern == "**"
}

func (a *assembly) rule(r PathRule, name string) error {
	if r.Remove {
		a.tree.Remove(name)
		return nil
	}
	n := a.tree.Lookup(name)
	if r.Mode.Set && n.Kind != rootfs.Symlink {
		n.Mode = r.Mode.Bits
	}
	caps := r.Caps
	if n.Kind != rootfs.File && strings.ContainsAny(r.Path, "*?[") {
		caps = "" // a pattern may hit directories and links beside the programs
	}
	return a.attributes(n, r.Owner, caps, r.Xattrs)
}

// owner resolves names through the tree's own etc/passwd and etc/group as they
// are at this layer, never through the host's.
func (a *assembly) owner(o Owner) (uid, gid uint32, err error) {
	user, err := a.account("etc/passwd", o.User)
	if err != nil {
		return 0, 0, err
	}
	if o.Group == "" {
		if user.line == nil {
			return 0, 0, fmt.Errorf("owner %q: the image's etc/passwd has no such user to take the group from", o.User)
		}
		gid, err := parseID(user.line[3])
		return user.id, gid, err
	}
	group, err := a.account("etc/group", o.Group)
	return user.id, group.id, err
}

// account is a line of passwd or group; line is nil for a number that the file
// does not know.
type account struct {
	id   uint32
	line []string
}

func (a *assembly) account(file, name string) (account, error) {
	id, numErr := parseID(name)
	lines, err := a.accounts(file)
	if err != nil {
		return account{}, err
	}
	for _, l := range lines {
		n, err := parseID(l[2])
		if err == nil && (l[0] == name || numErr == nil && n == id) {
			return account{n, l}, nil
		}
	}
	if numErr == nil {
		return account{id: id}, nil
	}
	known := make([]string, 0, len(lines))
	for _, l := range lines {
		known = append(known, l[0])
	}
	hint := suggest(name, known)
	if hint != "" {
		hint = "; " + hint
	}
	return account{}, fmt.Errorf("owner %q: the image's %s has no such name at this point%s", name, file, hint)
}

func parseID(s string) (uint32, error) {
	v, err := strconv.ParseUint(s, 10, 32)
	return uint32(v), err
}

// accounts reads the lines of passwd or group that have all their fields.
func (a *assembly) accounts(file string) ([][]string, error) {
	n := a.tree.Lookup(file)
	if n == nil || n.Kind != rootfs.File || n.Content == nil {
		return nil, nil
	}
	fields := 4
	if file == "etc/passwd" {
		fields = 7
	}
	text, err := readContent(n.Content)
	if err != nil {
		return nil, fmt.Errorf("read the image's %s: %w", file, err)
	}
	var out [][]string
	for line := range strings.Lines(text) {
		if l := strings.Split(strings.TrimRight(line, "\n"), ":"); len(l) == fields {
			out = append(out, l)
		}
	}
	return out, nil
}

// readContent reads a small file of the tree.
func readContent(c rootfs.Content) (string, error) {
	const most = 1 << 20
	if c.Size() > most {
		return "", fmt.Errorf("%d bytes are more than %d", c.Size(), most)
	}
	r, err := c.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}
