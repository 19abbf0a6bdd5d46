package rootfs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Difference is one thing that two trees do not have in common.
type Difference struct {
	Path string // "." is the root
	What string // "exists", "kind", "mode", "owner", "time", "target", "device", "link", "xattr NAME", "size", "content"
	A, B string // as people write it; "" is absent
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: %s: %s, %s", printable(d.Path), d.What, cmp.Or(d.A, "none"), cmp.Or(d.B, "none"))
}

// CompareOptions leaves things out of a comparison.
type CompareOptions struct {
	IgnoreTimes    bool
	IgnoreOwners   bool
	IgnoreXattrs   bool
	IgnoreLinks    bool // which names are the same file
	IgnoreContents bool
	IgnoreKinds    []Kind // nodes of these kinds in either tree are left out
	Max            int    // stop after so many differences; 0 is no bound
}

// Compare returns what is different between a and b, in the order of paths. An
// error is a content that cannot be read.
func Compare(ctx context.Context, a, b *Tree, opts CompareOptions) ([]Difference, error) {
	c := &comparison{ctx: ctx, opts: opts, a: side{first: map[*Node]string{}}, b: side{first: map[*Node]string{}}, same: map[[2]*Node]bool{}}
	c.buf = [2][]byte{make([]byte, spoolBlock), make([]byte, spoolBlock)}
	err := c.nodes(".", a.root, b.root)
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err != nil {
		return c.found, fmt.Errorf("compare trees: %w", err)
	}
	return c.found, nil
}

var errEnough = errors.New("enough differences")

// side remembers the first name of each node: hard links are equal when they
// group the same names.
type side struct{ first map[*Node]string }

func (s side) firstName(n *Node, name string) string {
	if f, ok := s.first[n]; ok {
		return f
	}
	s.first[n] = name
	return name
}

type comparison struct {
	ctx   context.Context
	opts  CompareOptions
	a, b  side
	same  map[[2]*Node]bool // contents that were compared under another name
	found []Difference
	buf   [2][]byte
}

func (c *comparison) add(path, what, a, b string) error {
	if a == b {
		return nil
	}
	c.found = append(c.found, Difference{path, what, a, b})
	if len(c.found) == c.opts.Max {
		return errEnough
	}
	return nil
}

func (c *comparison) ignored(n *Node) bool {
	return n != nil && slices.Contains(c.opts.IgnoreKinds, n.Kind)
}

func (c *comparison) nodes(path string, a, b *Node) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if err := c.metadata(path, a, b); err != nil {
		return err
	}
	if a.Kind != b.Kind {
		return nil
	}
	if a.Kind != Dir {
		return c.contents(path, a, b)
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(a.children)), maps.Keys(b.children))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		full := name
		if path != "." {
			full = path + "/" + name
		}
		left, right := a.children[name], b.children[name]
		if c.ignored(left) || c.ignored(right) {
			continue
		}
		var err error
		if left == nil || right == nil {
			err = c.add(full, "exists", kindText(left), kindText(right))
		} else {
			err = c.nodes(full, left, right)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func kindText(n *Node) string {
	if n == nil {
		return ""
	}
	return n.Kind.String()
}

func (c *comparison) metadata(path string, a, b *Node) error {
	rows := []struct {
		skip bool
		what string
		text func(*Node) string
	}{
		{false, "kind", kindText},
		{a.Kind == Symlink && b.Kind == Symlink, "mode", func(n *Node) string { return fmt.Sprintf("%04o", n.Mode) }},
		{c.opts.IgnoreOwners, "owner", func(n *Node) string { return fmt.Sprintf("%d:%d", n.UID, n.GID) }},
		{c.opts.IgnoreTimes, "time", func(n *Node) string { return timeOf(n).Format(time.RFC3339) }},
		{false, "target", func(n *Node) string { return printable(n.Target) }},
		{false, "device", deviceText},
	}
	for _, r := range rows {
		if r.skip {
			continue
		}
		if err := c.add(path, r.what, r.text(a), r.text(b)); err != nil {
			return err
		}
	}
	if err := c.links(path, a, b); err != nil {
		return err
	}
	return c.xattrs(path, a, b)
}

func deviceText(n *Node) string {
	if n.Kind != BlockDevice && n.Kind != CharDevice {
		return ""
	}
	return fmt.Sprintf("%d:%d", n.Major, n.Minor)
}

func (c *comparison) links(path string, a, b *Node) error {
	if c.opts.IgnoreLinks || a.Kind == Dir || b.Kind == Dir {
		return nil
	}
	text := func(first string) string {
		if first == path {
			return ""
		}
		return "same file as " + printable(first)
	}
	return c.add(path, "link", text(c.a.firstName(a, path)), text(c.b.firstName(b, path)))
}

func (c *comparison) xattrs(path string, a, b *Node) error {
	if c.opts.IgnoreXattrs {
		return nil
	}
	texts := func(n *Node) map[string]string {
		m := map[string]string{}
		for _, x := range n.Xattrs {
			m[x.Name] = fmt.Sprintf("%q", x.Value)
		}
		return m
	}
	left, right := texts(a), texts(b)
	names := slices.AppendSeq(slices.Collect(maps.Keys(left)), maps.Keys(right))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := c.add(path, "xattr "+name, left[name], right[name]); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) contents(path string, a, b *Node) error {
	if a.Kind != File || c.opts.IgnoreContents || c.same[[2]*Node{a, b}] {
		return nil
	}
	if a.Size() != b.Size() {
		return c.add(path, "size", strconv.FormatInt(a.Size(), 10), strconv.FormatInt(b.Size(), 10))
	}
	at, err := c.firstDifference(a, b)
	if err != nil {
		return fmt.Errorf("%s: %w", printable(path), err)
	}
	c.same[[2]*Node{a, b}] = true
	if at < 0 {
		return nil
	}
	c.found = append(c.found, Difference{path, "content", "differs", fmt.Sprintf("first at byte %d of %d", at, a.Size())})
	if len(c.found) == c.opts.Max {
		return errEnough
	}
	return nil
}

// firstDifference compares two files of the same size; -1 is none.
func (c *comparison) firstDifference(a, b *Node) (at int64, err error) {
	if a.Size() == 0 {
		return -1, nil
	}
	left, err := a.Content.Open()
	if err != nil {
		return 0, err
	}
	defer left.Close()
	right, err := b.Content.Open()
	if err != nil {
		return 0, err
	}
	defer right.Close()
	bufA, bufB := c.buf[0], c.buf[1]
	for at < a.Size() {
		n := min(a.Size()-at, int64(len(bufA)))
		if _, err := io.ReadFull(left, bufA[:n]); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(right, bufB[:n]); err != nil {
			return 0, err
		}
		if !bytes.Equal(bufA[:n], bufB[:n]) {
			for i := range n {
				if bufA[i] != bufB[i] {
					return at + i, nil
				}
			}
		}
		if at += n; c.ctx.Err() != nil {
			return 0, c.ctx.Err()
		}
	}
	return -1, nil
}

func timeOf(n *Node) time.Time { return time.Unix(n.ModTime, 0).UTC() }

// printable quotes a name only when it needs it.
func printable(s string) string {
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}
