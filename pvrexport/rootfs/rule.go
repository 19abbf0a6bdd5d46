package rootfs

import (
	"fmt"
	"strings"
)

// Rule changes the metadata of the nodes whose path matches. Pattern is an
// exact path, or with Wildcards a pattern as in ParseExcludes; "/" is the root.
// A nil field changes nothing.
type Rule struct {
	Pattern   string
	Wildcards bool
	Below     bool // also everything below a match

	Mode     *uint16 // not of symlinks, whose mode means nothing
	DirMode  *uint16 // of directories, in place of Mode
	UID, GID *uint32
	ModTime  *int64
	Xattrs   []Xattr // a nil Value removes
}

// Apply applies rules in order and returns how many names each one matched: a
// rule that matched nothing is usually a mistake. Nodes are changed in place,
// under all their names and in every tree that shares them.
func (t *Tree) Apply(rules []Rule) ([]int, error) {
	counts := make([]int, len(rules))
	for i, r := range rules {
		match, err := r.matcher()
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", r.Pattern, err)
		}
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("rule %q: %w", r.Pattern, err)
		}
		for name, n := range t.All() {
			if match(name) {
				counts[i]++
				r.change(n)
			}
		}
	}
	return counts, nil
}

func (r Rule) matcher() (func(string) bool, error) {
	if strings.Trim(r.Pattern, "/.") == "" && r.Pattern != "" && !r.Wildcards {
		return func(name string) bool { return r.Below || name == "." }, nil
	}
	e, err := ParseExcludes([]string{r.Pattern}, r.Wildcards)
	if err != nil {
		return nil, err
	}
	if r.Below {
		return e.Match, nil
	}
	return e.matchOnly, nil
}

func (r Rule) check() error {
	for _, m := range []*uint16{r.Mode, r.DirMode} {
		if m != nil && *m > 0o7777 {
			return fmt.Errorf("mode %o is above 7777", *m)
		}
	}
	for _, x := range r.Xattrs {
		if !storableXattr(x.Name) {
			return fmt.Errorf("extended attribute %q: want a name in one of the namespaces user, trusted, security", x.Name)
		}
	}
	return nil
}

func (r Rule) change(n *Node) {
	switch {
	case n.Kind == Dir && r.DirMode != nil:
		n.Mode = *r.DirMode
	case n.Kind != Symlink && r.Mode != nil:
		n.Mode = *r.Mode
	}
	if r.UID != nil {
		n.UID = *r.UID
	}
	if r.GID != nil {
		n.GID = *r.GID
	}
	if r.ModTime != nil {
		n.ModTime = *r.ModTime
	}
	for _, x := range r.Xattrs {
		n.SetXattr(x.Name, x.Value)
	}
}
