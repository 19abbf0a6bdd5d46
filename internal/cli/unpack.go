package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/pvrexport"
)

func unpackCommand(env Env) *cobra.Command {
	var out string
	var raw bool
	c := &cobra.Command{
		Use:   "unpack FILE -o DIR",
		Short: "Unpack a bundle into a directory",
		Long: `Unpack a bundle into DIR, which must not exist or be empty: each file of the
state under its own name, JSON indented, as 'pvr clone' lays them out. With
--raw it writes the state as "json" and the objects under "objects/" instead.

Every digest is checked first; DIR is whole or not there.`,
		Example: `  pvkit unpack app.pvrexport.tgz -o app
  pvkit unpack --raw app.pvrexport.tgz -o store`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if out == "" {
				return usagef("unpack: give the destination with -o DIR")
			}
			b, err := openBundle(c.Context(), env, args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, b.Close()) }()
			return unpack(c.Context(), b, out, raw)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "the directory to write")
	c.Flags().BoolVar(&raw, "raw", false, "write json and objects/ instead of named files")
	return c
}

// unpack builds the directory beside its place and renames it.
func unpack(ctx context.Context, b *pvrexport.Bundle, out string, raw bool) (err error) {
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		return fmt.Errorf("unpack to %s: the directory is not empty", out)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpack to %s: %w", out, err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(out)), ".unpack-*")
	if err != nil {
		return fmt.Errorf("unpack to %s: %w", out, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return err
	}
	if raw {
		err = unpackRaw(ctx, b, root)
	} else {
		err = unpackNamed(ctx, b, root)
	}
	if err = errors.Join(err, root.Close()); err != nil {
		return fmt.Errorf("unpack to %s: %w", out, err)
	}
	if err := os.Remove(out); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(tmp, out)
}

func unpackRaw(ctx context.Context, b *pvrexport.Bundle, root *os.Root) error {
	if err := writeIn(root, "json", bytes.NewReader(b.State.Encode())); err != nil {
		return err
	}
	for _, id := range b.State.Objects() {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := b.Object(id)
		if err != nil {
			return err
		}
		if err := writeIn(root, "objects/"+id, r); err != nil {
			return err
		}
	}
	return nil
}

func unpackNamed(ctx context.Context, b *pvrexport.Bundle, root *os.Root) error {
	for key, v := range b.State.All() {
		if key == pvrexport.SpecKey {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var content io.Reader
		if id, isObject := v.Object(); isObject {
			r, err := b.Object(id)
			if err != nil {
				return err
			}
			content = r
		} else {
			var buf bytes.Buffer
			if err := json.Indent(&buf, v.JSON(), "", "    "); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			content = &buf
		}
		if err := writeIn(root, key, content); err != nil {
			return err
		}
	}
	return nil
}

// writeIn writes a new file and the directories above it.
func writeIn(root *os.Root, name string, content io.Reader) (err error) {
	if dir := path.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, content)
	return err
}
