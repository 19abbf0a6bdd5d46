package cli

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/machine"
)

// pvkit build makes a bundle of a container for each architecture, and all of
// them lie in one directory. Of those the runtime would take the last one.

// candidate is a bundle that is to be run.
type candidate struct {
	file  string
	state *pvrexport.State
	archs map[string]string // of the containers that are for another machine
}

// forHere removes the bundles from a directory that are for other machines and
// in whose place another one is there for this. It returns them.
func forHere(ctx context.Context, dir string) (leftOut []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 2 {
		return nil, err
	}
	var all []*candidate
	for _, e := range entries {
		c := &candidate{file: filepath.Join(dir, e.Name()), archs: map[string]string{}}
		// What cannot be read is the runtime's to say.
		if c.state, err = stateOf(ctx, c.file); err == nil {
			all = append(all, c)
		}
	}
	for _, c := range all {
		if len(rivals(all, c)) > 0 {
			_ = c.look(ctx) // what cannot be looked into stays
		}
	}
	for _, c := range all {
		if c.replaceable(rivals(all, c)) {
			leftOut = append(leftOut, c.file)
			if err := os.Remove(c.file); err != nil {
				return leftOut, err
			}
		}
	}
	return leftOut, nil
}

// rivals are the other candidates that have one of its containers.
func rivals(all []*candidate, c *candidate) []*candidate {
	var out []*candidate
	for _, o := range all {
		if o != c && slices.ContainsFunc(o.state.Containers(), func(name string) bool { return slices.Contains(c.state.Containers(), name) }) {
			out = append(out, o)
		}
	}
	return out
}

// replaceable tells that everything in a candidate is for another machine, and
// that others have it for this one.
func (c *candidate) replaceable(others []*candidate) bool {
	names := c.state.Containers()
	for _, name := range names {
		better := func(o *candidate) bool {
			return slices.Contains(o.state.Containers(), name) && o.archs[name] == ""
		}
		if c.archs[name] == "" || !slices.ContainsFunc(others, better) {
			return false
		}
	}
	return len(names) > 0
}

// look finds out which containers of a candidate are for another machine.
func (c *candidate) look(ctx context.Context) error {
	b, err := pvrexport.OpenBundle(ctx, c.file, "", pvrexport.Limits{})
	if err != nil {
		return err
	}
	defer b.Close()
	for _, name := range c.state.Containers() {
		p, err := programOf(b, name)
		if err == nil && p.Foreign() {
			c.archs[name] = p.Arch()
		}
	}
	return nil
}

// programOf is the program that a container of a bundle begins with.
func programOf(b *pvrexport.Bundle, name string) (machine.Program, error) {
	var run struct {
		Config string `json:"config"`
		Root   string `json:"root-volume"`
	}
	if v, ok := b.State.Get(name + "/run.json"); !ok {
		return machine.Program{}, fmt.Errorf("%s has no run.json", name)
	} else if err := v.Unmarshal(&run); err != nil {
		return machine.Program{}, err
	}
	conf, err := fileOf(b, path.Join(name, run.Config))
	if err != nil {
		return machine.Program{}, err
	}
	config, err := lxcconf.Parse(conf)
	if err != nil {
		return machine.Program{}, err
	}
	root, err := fileOf(b, path.Join(name, strings.TrimPrefix(run.Root, "dm:")))
	if err != nil {
		return machine.Program{}, err
	}
	im, err := squashfs.Open(root, root.Size())
	if err != nil {
		return machine.Program{}, err
	}
	return machine.Find(im.FS(), config.Init.Args[0], strings.Split(machine.SearchPath(config.Env), ":"))
}

func fileOf(b *pvrexport.Bundle, key string) (*io.SectionReader, error) {
	v, ok := b.State.Get(key)
	id, object := v.Object()
	if !ok || !object {
		return nil, fmt.Errorf("there is no object %s", key)
	}
	return b.Object(id)
}

// stateOf reads a bundle's state, which comes first in those that pvkit and pvr
// write; of any other one everything is read.
func stateOf(ctx context.Context, name string) (*pvrexport.State, error) {
	if state, err := firstState(name); err == nil {
		return state, nil
	}
	b, err := pvrexport.OpenBundle(ctx, name, "", pvrexport.Limits{})
	if err != nil {
		return nil, err
	}
	return b.State, b.Close()
}

func firstState(name string) (*pvrexport.State, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	archive := tar.NewReader(z)
	head, err := archive.Next()
	if err != nil {
		return nil, err
	}
	const most = 16 << 20
	if path.Clean(head.Name) != "json" || head.Size > most {
		return nil, errors.New("its state does not come first")
	}
	state, err := pvrexport.DecodeState(io.LimitReader(archive, most))
	return state, errors.Join(err, z.Close())
}
