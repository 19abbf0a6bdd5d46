package rootfs

import (
	"path"
	"strings"
)

// Resolve returns the path that name leads to when symlinks among the
// directories above its last part are followed inside the tree: "bin/sh" is
// "usr/bin/sh" where bin is a link to usr/bin. An absolute target starts at the
// tree's root and ".." stops there. Parts that do not exist stay as they are.
func (t *Tree) Resolve(name string) (string, error) {
	clean, err := Clean(name)
	if err != nil {
		return "", err
	}
	dir, base := path.Split(clean)
	if dir == "" {
		return clean, nil
	}
	dir, err = t.follow(dir)
	return path.Join(dir, base), err
}

// follow resolves every part of name, the last one too.
func (t *Tree) follow(name string) (string, error) {
	at := "."
	rest := strings.Split(strings.Trim(name, "/"), "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		n := t.Lookup(next)
		if n == nil || n.Kind != Symlink {
			at = next
			continue
		}
		if links++; links > 40 { // MAXSYMLINKS of Linux
			return "", &PathError{"resolve", printable(name), "too many levels of symlinks"}
		}
		if strings.HasPrefix(n.Target, "/") {
			at = "."
		}
		rest = append(strings.Split(n.Target, "/"), rest...)
	}
	return at, nil
}

// Merge lays other over the directory at, which is made when it is missing:
// other's root gives its metadata, what stands under the same names is
// replaced, directories are merged. A directory that meets a symlink to a
// directory goes into that one, so that a layer with bin/ fits a tree in which
// bin is a link to usr/bin. Nodes are shared with other, contents included;
// hard links stay links.
func (t *Tree) Merge(other *Tree, at string) error {
	clean, err := t.Resolve(at)
	if err != nil {
		return err
	}
	clean = t.directoryLink(clean)
	return t.merge(clean, other.root, true)
}

// merge lays the entries of dir over the directory at, and with meta its
// metadata too.
func (t *Tree) merge(at string, dir *Node, meta bool) error {
	if meta {
		top := *dir
		top.children = nil
		if _, err := t.put(at, &top); err != nil {
			return err
		}
	}
	for base, n := range dir.Entries() {
		full := path.Join(at, base)
		if n.Kind != Dir {
			if _, err := t.put(full, n); err != nil {
				return err
			}
			continue
		}
		// Behind a link the directory keeps its own metadata.
		target := t.directoryLink(full)
		if err := t.merge(target, n, target == full); err != nil {
			return err
		}
	}
	return nil
}

// directoryLink returns where the symlink at name leads when that is a
// directory, else name.
func (t *Tree) directoryLink(name string) string {
	if n := t.Lookup(name); n == nil || n.Kind != Symlink {
		return name
	}
	target, err := t.follow(name)
	if err != nil {
		return name
	}
	if n := t.Lookup(target); n == nil || n.Kind != Dir {
		return name
	}
	return target
}
