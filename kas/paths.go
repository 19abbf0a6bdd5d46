package kas

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// inFS turns a path, absolute or relative to dir, into a name in an fs.FS
// whose root is the root of absolute paths.
func inFS(dir, p string) string {
	if strings.HasPrefix(p, "/") {
		p = strings.TrimPrefix(path.Clean(p), "/")
		if p == "" {
			return "."
		}
		return p
	}
	return path.Join(dir, p)
}

// within reports whether name is dir or below it.
func within(dir, name string) bool {
	return dir == "." && !strings.HasPrefix(name, "../") && name != ".." || name == dir || strings.HasPrefix(name, dir+"/")
}

// relative is Python's os.path.relpath for names in one fs.FS.
func relative(base, name string) string {
	if base == name {
		return "."
	}
	split := func(s string) []string {
		if s == "." {
			return nil
		}
		return strings.Split(s, "/")
	}
	b, n := split(base), split(name)
	for len(b) > 0 && len(n) > 0 && b[0] == n[0] {
		b, n = b[1:], n[1:]
	}
	return strings.TrimSuffix(strings.Repeat("../", len(b))+strings.Join(n, "/"), "/")
}

// maxLinks is the kernel's limit of symbolic links on one path.
const maxLinks = 40

var errLinks = errors.New("too many symbolic links")

// resolveLinks follows the symbolic links in a name, as Python's
// Path.resolve does: what does not exist stays as it is.
func resolveLinks(fsys fs.FS, name string) (string, error) {
	links, ok := fsys.(fs.ReadLinkFS)
	if !ok {
		return name, nil
	}
	done, rest := ".", strings.Split(name, "/")
	for count := 0; len(rest) > 0; {
		next := path.Join(done, rest[0])
		if rest[0] == ".." && done == "." {
			next = "." // the parent of the root is the root
		}
		rest = rest[1:]
		info, err := links.Lstat(next)
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		if count++; count > maxLinks {
			return "", errLinks
		}
		target, err := links.ReadLink(next)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(target, "/") {
			done = "."
			target = strings.TrimLeft(target, "/")
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return done, nil
}

// findRoot finds the root of the version control that a directory is in, with
// submodules counted to the project around them (repos.py, get_root_path).
func findRoot(fsys fs.FS, dir string) (root string, ok bool) {
	for _, mark := range []string{".git", ".hg"} {
		for d := dir; ; d = path.Dir(d) {
			info, err := fs.Stat(fsys, path.Join(d, mark))
			if err == nil && (info.IsDir() || mark == ".git") {
				root, ok = d, true
				if info.IsDir() || !submodule(fsys, path.Join(d, mark)) {
					return root, ok
				}
			}
			if d == "." {
				break
			}
		}
		if ok {
			return root, ok
		}
	}
	return "", false
}

// submodule reports whether a .git file belongs to a submodule; those of
// worktrees point elsewhere.
func submodule(fsys fs.FS, name string) bool {
	src, err := readLimited(fsys, name)
	return err == nil && strings.Contains(string(src), "/modules/")
}
