// Package rootfs holds a root filesystem as data: names, modes, owners, times,
// devices and extended attributes are values in a Tree, so nothing here needs
// root or fakeroot. A Tree is filled from directories (FromDir), tar streams
// (FromTar) and single entries (Put), in layers (Merge), and is what the image
// writer takes. Compare says how two differ, and Extract writes one to a
// directory.
package rootfs

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
)

// Kind is the type of a node.
type Kind uint8

// The kinds of node that a Unix file system knows.
const (
	Dir Kind = iota + 1
	File
	Symlink
	BlockDevice
	CharDevice
	Fifo
	Socket
)

func (k Kind) String() string {
	names := [...]string{"unknown", "directory", "file", "symlink", "block device", "character device", "fifo", "socket"}
	if int(k) >= len(names) {
		return names[0]
	}
	return names[k]
}

// Content is the data of a regular file. Open may be called more than once,
// and by several goroutines; the reader delivers exactly Size bytes.
type Content interface {
	Size() int64
	Open() (io.ReadCloser, error)
}

// Bytes is Content held in memory.
type Bytes []byte

// Size returns the length in bytes.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Open returns a reader of the whole.
func (b Bytes) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }

// Xattr is an extended attribute; Name is the full one, "security.capability".
type Xattr struct {
	Name  string
	Value []byte
}

// Node is an inode. The same Node under two names is a hard link.
type Node struct {
	Kind    Kind
	Mode    uint16 // permission bits, setuid, setgid, sticky: 0..07777
	UID     uint32
	GID     uint32
	ModTime int64  // seconds since 1970, UTC
	Major   uint32 // devices only
	Minor   uint32
	Target  string  // symlinks only
	Content Content // files only; nil is an empty file
	Xattrs  []Xattr // sorted by name, each once

	children map[string]*Node
}

// Size is the length of a file's content or of a symlink's target.
func (n *Node) Size() int64 {
	switch {
	case n.Kind == Symlink:
		return int64(len(n.Target))
	case n.Kind == File && n.Content != nil:
		return n.Content.Size()
	}
	return 0
}

// SetXattr adds or replaces an extended attribute; a nil value removes it.
func (n *Node) SetXattr(name string, value []byte) {
	i, found := slices.BinarySearchFunc(n.Xattrs, name, func(x Xattr, s string) int { return strings.Compare(x.Name, s) })
	switch {
	case value == nil && found:
		n.Xattrs = slices.Delete(n.Xattrs, i, i+1)
	case value == nil:
	case found:
		n.Xattrs[i].Value = value
	default:
		n.Xattrs = slices.Insert(n.Xattrs, i, Xattr{name, value})
	}
}

// Entries yields a directory's entries in byte order of their names.
func (n *Node) Entries() iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		for _, name := range slices.Sorted(maps.Keys(n.children)) {
			if !yield(name, n.children[name]) {
				return
			}
		}
	}
}

// Len is the number of entries of a directory.
func (n *Node) Len() int { return len(n.children) }

// Child returns the entry of that name, nil when there is none.
func (n *Node) Child(name string) *Node { return n.children[name] }

// Tree is a root filesystem. Paths are slash-separated, relative to the root
// and clean ("usr/bin/sh", "." for the root); a leading slash is accepted.
type Tree struct {
	root *Node
}

// New returns a tree that holds only a root directory, 0755 and owned by 0:0.
func New() *Tree {
	return &Tree{root: &Node{Kind: Dir, Mode: 0o755}}
}

// Rooted returns the tree whose root is the given directory. It shares the
// nodes with the tree that dir is from.
func Rooted(dir *Node) *Tree { return &Tree{root: dir} }

// Root returns the root directory's node.
func (t *Tree) Root() *Node { return t.root }

// PathError is a name that cannot be used in the tree as asked.
type PathError struct {
	Op, Path, Reason string
}

func (e *PathError) Error() string { return fmt.Sprintf("%s %s: %s", e.Op, e.Path, e.Reason) }

// Clean turns a user's path into the tree's form. It refuses names that climb
// out, are longer than Linux allows, or hold a NUL byte.
func Clean(name string) (string, error) {
	bad := func(reason string) (string, error) { return "", &PathError{"name", fmt.Sprintf("%q", name), reason} }
	if strings.IndexByte(name, 0) >= 0 {
		return bad("holds a NUL byte")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return bad(`holds ".."`)
		}
		if len(part) > 255 {
			return bad("has a part longer than 255 bytes")
		}
	}
	name = strings.TrimLeft(path.Clean("/"+name), "/")
	if name == "" {
		return ".", nil
	}
	return name, nil
}

// Lookup returns the node at name without following symlinks, nil when there
// is none.
func (t *Tree) Lookup(name string) *Node {
	name, err := Clean(name)
	if err != nil {
		return nil
	}
	n := t.root
	if name == "." {
		return n
	}
	for part := range strings.SplitSeq(name, "/") {
		if n = n.children[part]; n == nil {
			return nil
		}
	}
	return n
}

// Put places n at name and makes missing parents (0755, owned by 0:0, with
// n's time). What stood there is replaced, except that a directory over a
// directory takes the new metadata and keeps its entries: this is how layers
// merge. A parent that is not a directory is an error.
func (t *Tree) Put(name string, n *Node) error {
	clean, err := Clean(name)
	if err != nil {
		return err
	}
	_, err = t.put(clean, n)
	return err
}

// put is Put for a clean name; it returns how many nodes are new.
func (t *Tree) put(clean string, n *Node) (int64, error) {
	if clean == "." {
		if n.Kind != Dir {
			return 0, &PathError{"put", "/", "the root must be a directory, not a " + n.Kind.String()}
		}
		n.children = t.root.children
		t.root = n
		return 0, nil
	}
	dir, base, made, err := t.parent(clean, n.ModTime)
	if err != nil {
		return made, err
	}
	if old := dir.children[base]; old != nil && old.Kind == Dir && n.Kind == Dir && old != n {
		n.children = old.children
	}
	dir.add(base, n)
	return made + 1, nil
}

func (t *Tree) parent(clean string, mtime int64) (dir *Node, base string, made int64, err error) {
	dirname, base := path.Split(clean)
	n := t.root
	if dirname == "" {
		return n, base, 0, nil
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(dirname, "/"), "/") {
		next := n.children[part]
		if next == nil {
			next = &Node{Kind: Dir, Mode: 0o755, ModTime: mtime}
			n.add(part, next)
			made++
		}
		if next.Kind != Dir {
			return nil, "", made, &PathError{"put", fmt.Sprintf("%q", clean), fmt.Sprintf("%q in its path is a %s, not a directory", part, next.Kind)}
		}
		n = next
	}
	return n, base, made, nil
}

// Remove drops name and everything below it, and reports whether it was there.
func (t *Tree) Remove(name string) bool {
	clean, err := Clean(name)
	if err != nil || clean == "." {
		return false
	}
	dir, base := t.Lookup(path.Dir(clean)), path.Base(clean)
	if dir == nil || dir.children[base] == nil {
		return false
	}
	delete(dir.children, base)
	return true
}

// All yields every path and its node, parents before children, siblings in
// byte order; the root is ".". A hard-linked node appears under each name.
func (t *Tree) All() iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) { walk(".", t.root, yield) }
}

func walk(name string, n *Node, yield func(string, *Node) bool) bool {
	if !yield(name, n) {
		return false
	}
	for base, child := range n.Entries() {
		full := base
		if name != "." {
			full = name + "/" + base
		}
		if !walk(full, child, yield) {
			return false
		}
	}
	return true
}
