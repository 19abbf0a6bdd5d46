package rootfs

import (
	"maps"
	"path"
	"strings"
)

// layer remembers what one archive of an image brought and what it hides.
// Whiteouts concern the layers below only, whatever the order of the entries
// (OCI image-spec, layer.md, "Whiteouts").
type layer struct {
	placed map[string]bool // names of entries and the directories above them
	hidden []string        // names to remove
	opaque []string        // directories whose earlier entries go
}

// whiteout notes name if it is one.
func (l *layer) whiteout(name string) bool {
	dir, base := path.Split(name)
	rest, is := strings.CutPrefix(base, ".wh.")
	switch {
	case !is:
		return false
	case rest == ".wh..opq":
		l.opaque = append(l.opaque, path.Clean(dir))
	case strings.HasPrefix(rest, ".wh."): // aufs bookkeeping: .wh..wh.aufs, .wh..wh.plnk
	case rest != "" && rest != "." && rest != "..":
		l.hidden = append(l.hidden, dir+rest)
	}
	return true
}

func (l *layer) place(name string) {
	for name != "." && !l.placed[name] {
		l.placed[name] = true
		name = path.Dir(name)
	}
}

func (l *layer) apply(t *Tree) {
	for _, name := range l.hidden {
		if !l.placed[name] {
			t.Remove(name)
			continue
		}
		l.prune(name, t.Lookup(name))
	}
	for _, name := range l.opaque {
		l.prune(name, t.Lookup(name))
	}
}

// prune removes everything below n that this layer did not bring.
func (l *layer) prune(name string, n *Node) {
	if n == nil || n.Kind != Dir {
		return
	}
	for base, child := range maps.Clone(n.children) {
		full := path.Join(name, base)
		if !l.placed[full] {
			delete(n.children, base)
			continue
		}
		l.prune(full, child)
	}
}
