package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

const targetHelp = `FILE is a bundle (tar, plain or packed with gzip or zstd; "-" is standard
input). CONTAINER names one of its containers, and is needed only where there
are several; the key of an image ("app/data.squashfs") works as well. A container
of standard input is written behind "--", which ends the flags: -- -:app`

func lsCommand(env Env) *cobra.Command {
	var recursive, asJSON bool
	c := &cobra.Command{
		Use:   "ls FILE[:CONTAINER] [PATH]...",
		Short: "List files of a container's root filesystem",
		Long:  "List files of a container's root filesystem, with modes, owners and sizes.\n\n" + targetHelp,
		Example: `  pvkit ls app.pvrexport.tgz /usr/bin
  pvkit ls -R --json device.tgz:app /etc`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withImage(c.Context(), env, args[0], func(im *squashfs.Image) error {
				paths := args[1:]
				if len(paths) == 0 {
					paths = []string{"/"}
				}
				return ls(c.Context(), env.Stdout, im, paths, recursive, asJSON)
			})
		},
	}
	c.Flags().BoolVarP(&recursive, "recursive", "R", false, "list directories with all that is below them")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object a line")
	return c
}

func withImage(ctx context.Context, env Env, arg string, do func(*squashfs.Image) error) (err error) {
	t, err := openTarget(ctx, env, arg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	im, err := t.image()
	if err != nil {
		return err
	}
	if err := do(im); err != nil {
		return fmt.Errorf("%s: %w", arg, err)
	}
	return nil
}

// lookup finds what a user's path names. Symlinks in the middle are not
// followed: the path is the one that `ls -R` prints.
func lookup(ctx context.Context, im *squashfs.Image, name string) (*rootfs.Node, string, error) {
	clean, err := rootfs.Clean(name)
	if err != nil {
		return nil, "", usageError{err}
	}
	tree, err := im.Tree(ctx)
	if err != nil {
		return nil, "", err
	}
	n := tree.Lookup(clean)
	if n == nil {
		return nil, "", &fs.PathError{Op: "look up", Path: name, Err: fs.ErrNotExist}
	}
	return n, clean, nil
}

func ls(ctx context.Context, w io.Writer, im *squashfs.Image, paths []string, recursive, asJSON bool) error {
	show := func(name string, n *rootfs.Node) error {
		if asJSON {
			return json.NewEncoder(w).Encode(list(name, n))
		}
		return writeLong(w, name, n)
	}
	for _, p := range paths {
		n, clean, err := lookup(ctx, im, p)
		if err != nil {
			return err
		}
		if n.Kind != rootfs.Dir {
			if err := show(clean, n); err != nil {
				return err
			}
			continue
		}
		if err := lsDir(n, clean, recursive, show); err != nil {
			return err
		}
	}
	return nil
}

func lsDir(dir *rootfs.Node, name string, recursive bool, show func(string, *rootfs.Node) error) error {
	for base, n := range dir.Entries() {
		full := path.Join(name, base)
		if err := show(full, n); err != nil {
			return err
		}
		if recursive && n.Kind == rootfs.Dir {
			if err := lsDir(n, full, recursive, show); err != nil {
				return err
			}
		}
	}
	return nil
}

func catCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "cat FILE[:CONTAINER] PATH...",
		Short: "Print files of a container's root filesystem",
		Long:  "Print files of a container's root filesystem. Symlinks are followed inside it.\n\n" + targetHelp,
		Example: `  pvkit cat app.pvrexport.tgz /etc/passwd
  pvkit cat app.pvrexport.tgz /usr/bin/app > app`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return withImage(c.Context(), env, args[0], func(im *squashfs.Image) error {
				for _, p := range args[1:] {
					if err := cat(env.Stdout, im, p); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func cat(w io.Writer, im *squashfs.Image, name string) error {
	clean, err := rootfs.Clean(name)
	if err != nil {
		return usageError{err}
	}
	f, err := im.FS().Open(clean)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return &fs.PathError{Op: "print", Path: name, Err: fmt.Errorf("is not a regular file but a %s", kindOf(st.Mode()))}
	}
	_, err = io.Copy(w, f)
	return err
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

func extractCommand(env Env) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "extract FILE[:CONTAINER] [PATH] -o DEST",
		Short: "Extract a container's root filesystem, or a part of it",
		Long: `Extract a container's root filesystem, or the file or directory at PATH, to
DEST, which must not exist yet. Names and symlinks cannot lead out of DEST.

Owners and device nodes need root; without it they are left out and counted.

` + targetHelp,
		Example: `  pvkit extract app.pvrexport.tgz -o rootfs
  pvkit extract device.tgz:app /etc -o etc`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if out == "" {
				return usagef("extract: give the destination with -o DEST")
			}
			name := "/"
			if len(args) == 2 {
				name = args[1]
			}
			return withImage(c.Context(), env, args[0], func(im *squashfs.Image) error {
				return extract(c.Context(), env, im, name, out)
			})
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "where the files go")
	return c
}

func extract(ctx context.Context, env Env, im *squashfs.Image, name, out string) error {
	n, clean, err := lookup(ctx, im, name)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(out); err == nil {
		return fmt.Errorf("extract to %s: %w", out, fs.ErrExist)
	}
	if n.Kind == rootfs.File {
		return extractFile(n, out)
	}
	if n.Kind != rootfs.Dir {
		return fmt.Errorf("extract %s: is a %s; extract the directory that holds it", clean, n.Kind)
	}
	skips, err := rootfs.Extract(ctx, rootfs.Rooted(n), out)
	if err != nil {
		return err
	}
	if len(skips) > 0 {
		fmt.Fprintf(env.Stderr, "pvkit: left out %d things that this user or file system cannot make, the first: %v\n", len(skips), skips[0])
	}
	return nil
}

func extractFile(n *rootfs.Node, out string) (err error) {
	f, err := atomicfile.Create(out, fs.FileMode(n.Mode&0o777))
	if err != nil {
		return err
	}
	defer f.Abort()
	r, err := openContent(n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if _, err := io.Copy(f, r); err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	return f.Commit()
}

func openContent(n *rootfs.Node) (io.ReadCloser, error) {
	if n.Content == nil {
		return rootfs.Bytes(nil).Open()
	}
	return n.Content.Open()
}
