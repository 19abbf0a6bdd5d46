package cli

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// gitTree is a directory as it was in a revision: what `git archive` gives,
// read in memory. Nothing is checked out.
func gitTree(ctx context.Context, dir, rev string) (fs.FS, error) {
	commit, err := git(ctx, dir, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if err != nil {
		return nil, fmt.Errorf("find revision %s of %s: %w", rev, dir, err)
	}
	data, err := git(ctx, dir, "archive", "--format=zip", strings.TrimSpace(string(commit)))
	if err != nil {
		return nil, fmt.Errorf("read revision %s of %s: %w", rev, dir, err)
	}
	return zip.NewReader(bytes.NewReader(data), int64(len(data)))
}

func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		if text := strings.TrimSpace(errs.String()); text != "" {
			return nil, errors.New(text)
		}
		return nil, fmt.Errorf("git %s: %w", args[0], err)
	}
	return out, nil
}

// replaced is the real file system with one directory replaced. keep are
// directories inside of it that stay as they are: checkouts of other layers.
type replaced struct {
	dir  string // without the leading slash
	tree fs.FS
	keep []string
}

// Open opens a file of the tree or of the real file system.
func (r *replaced) Open(name string) (fs.File, error) {
	for _, k := range r.keep {
		if name == k || strings.HasPrefix(name, k+"/") {
			return os.DirFS("/").Open(name)
		}
	}
	if name == r.dir {
		return r.tree.Open(".")
	}
	if rest, ok := strings.CutPrefix(name, r.dir+"/"); ok {
		return r.tree.Open(rest)
	}
	return os.DirFS("/").Open(name)
}
