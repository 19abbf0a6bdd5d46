package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// target is what an argument FILE[:CONTAINER] names: a bundle, and one of the
// images in it.
type target struct {
	file      string
	container string // as written; a container's name or the key of an image
	bundle    *pvrexport.Bundle
}

// openTarget opens the bundle of an argument FILE[:CONTAINER]. A file whose
// own name holds the colon is taken as it is. "-" is standard input.
func openTarget(ctx context.Context, env Env, arg string) (*target, error) {
	t := &target{file: arg}
	if _, err := os.Stat(arg); err != nil && arg != "-" {
		if i := strings.LastIndexByte(arg, ':'); i > 0 {
			t.file, t.container = arg[:i], arg[i+1:]
		}
	}
	b, err := openBundle(ctx, env, t.file)
	if err != nil {
		return nil, err
	}
	t.bundle = b
	return t, nil
}

func isStdin(arg string) bool { return arg == "-" || strings.HasPrefix(arg, "-:") }

func openBundle(ctx context.Context, env Env, file string) (*pvrexport.Bundle, error) {
	tempDir := env.Getenv("TMPDIR")
	if file == "-" {
		b, err := pvrexport.ReadBundle(ctx, env.Stdin, tempDir, pvrexport.Limits{})
		return b, wrap(err, "read standard input")
	}
	return pvrexport.OpenBundle(ctx, file, tempDir, pvrexport.Limits{})
}

func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Close gives back what the bundle holds.
func (t *target) Close() error { return t.bundle.Close() }

// image opens the image that the target means: the root volume of the named
// container, of the only one there is, or the image with that key.
func (t *target) image() (*squashfs.Image, error) {
	key, err := t.imageKey()
	if err != nil {
		return nil, err
	}
	im, err := openImage(t.bundle, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", t.file, key, err)
	}
	return im, nil
}

func (t *target) imageKey() (string, error) {
	state := t.bundle.State
	name := t.container
	if name == "" {
		names := withRoot(state)
		switch len(names) {
		case 0:
			return "", fmt.Errorf("%s: no container in it has a root filesystem", t.file)
		case 1:
			name = names[0]
		default:
			return "", usagef("%s holds several containers: write %s:NAME with one of %s", t.file, t.file, strings.Join(names, ", "))
		}
	}
	if v, ok := state.Get(name); ok {
		if _, isObject := v.Object(); isObject {
			return name, nil
		}
	}
	if key := rootVolume(state, name); key != "" {
		return key, nil
	}
	return "", usagef("%s has no container %q with a root filesystem; it has %s", t.file, name, orNone(withRoot(state)))
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// withRoot lists the containers that have a root filesystem.
func withRoot(s *pvrexport.State) []string {
	return slices.DeleteFunc(s.Parts(), func(name string) bool { return rootVolume(s, name) == "" })
}

// rootVolume is the key of a container's root filesystem, "" if there is none.
func rootVolume(s *pvrexport.State, container string) string {
	var run struct {
		Root string `json:"root-volume"`
	}
	if v, ok := s.Get(container + "/run.json"); ok {
		if err := v.Unmarshal(&run); err != nil {
			return ""
		}
	}
	key := container + "/" + strings.TrimPrefix(run.Root, "dm:")
	if v, ok := s.Get(key); ok {
		if _, isObject := v.Object(); isObject {
			return key
		}
	}
	return ""
}

// openImage opens the object under key as a squashfs image.
func openImage(b *pvrexport.Bundle, key string) (*squashfs.Image, error) {
	r, err := objectReader(b, key)
	if err != nil {
		return nil, err
	}
	return squashfs.Open(r, r.Size())
}

func objectReader(b *pvrexport.Bundle, key string) (*io.SectionReader, error) {
	v, ok := b.State.Get(key)
	if !ok {
		return nil, fmt.Errorf("no such file: %w", fs.ErrNotExist)
	}
	id, ok := v.Object()
	if !ok {
		return nil, errors.New("stands in the state itself, not in an object")
	}
	return b.Object(id)
}
