package rootfs

import (
	"fmt"
	"slices"
	"strings"
)

// Excludes is a set of paths that do not enter a tree, in the language of
// mksquashfs's -e option. A nil *Excludes excludes nothing.
type Excludes struct {
	exact map[string]bool
	globs []glob
}

// ParseExcludes reads patterns as mksquashfs does. Without wildcards each is a
// path from the root of the tree, and everything below it goes too. With
// wildcards (mksquashfs -wildcards) each part of the path is a shell pattern
// with extended globs, in which a leading dot is only matched by a dot, and
// "... PATTERN" matches in every directory.
//
// Three differences: mksquashfs takes "/x" and "./x" without -wildcards for
// paths of the host, here they start at the root of the tree; ".." is refused
// where mksquashfs looks at the host or silently matches nothing; and
// "... a/b" excludes b in every a, where mksquashfs 4.5.1 drops every a whole.
func ParseExcludes(patterns []string, wildcards bool) (*Excludes, error) {
	e := &Excludes{exact: map[string]bool{}}
	for _, p := range patterns {
		if wildcards {
			g, err := parseGlob(p)
			if err != nil {
				return nil, fmt.Errorf("exclude %q: %w", p, err)
			}
			e.globs = append(e.globs, g)
			continue
		}
		name, err := Clean(p)
		if err != nil {
			return nil, fmt.Errorf("exclude: %w", err)
		}
		if name == "." {
			return nil, fmt.Errorf("exclude %q: this is the whole tree", p)
		}
		e.exact[name] = true
	}
	return e, nil
}

// Match reports whether a clean path, or a directory above it, is excluded.
func (e *Excludes) Match(name string) bool {
	if e == nil || name == "." || len(e.exact)+len(e.globs) == 0 {
		return false
	}
	for end := 0; end < len(name); {
		next := strings.IndexByte(name[end+1:], '/')
		if next < 0 {
			end = len(name)
		} else {
			end += 1 + next
		}
		if e.matchOnly(name[:end]) {
			return true
		}
	}
	return false
}

// matchOnly is Match without the directories above.
func (e *Excludes) matchOnly(name string) bool {
	if e.exact[name] {
		return true
	}
	if len(e.globs) == 0 || name == "." {
		return false
	}
	parts := strings.Split(name, "/")
	return slices.ContainsFunc(e.globs, func(g glob) bool { return g.match(parts) })
}
