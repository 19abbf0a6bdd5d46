package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/pvrexport/container"
	enginestore "github.com/pvkit/pvkit/runtime/appengine/storage"
)

// inputs are what pvkit up runs: definitions to build, and bundles as they are.
type inputs struct {
	definitions []string
	bundles     []string
	links       map[string]string // where collect has put a bundle, and the bundle
}

// upInputs sorts the arguments.
func upInputs(args []string) (*inputs, error) {
	if len(args) == 0 {
		args = []string{"."}
	}
	in := &inputs{links: map[string]string{}}
	for _, arg := range args {
		st, err := os.Stat(arg)
		switch {
		case err != nil:
			return nil, err
		case st.IsDir():
			err = in.directory(arg)
		case filepath.Base(arg) == container.DefinitionFile || isYAML(arg):
			in.definitions = append(in.definitions, arg)
		default:
			in.bundles = append(in.bundles, arg)
		}
		if err != nil {
			return nil, err
		}
	}
	return in, nil
}

func isYAML(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

// directory takes what a directory has: its definition, its bundles, or the
// definitions one further down.
func (in *inputs) directory(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, container.DefinitionFile)); err == nil {
		in.definitions = append(in.definitions, filepath.Join(dir, container.DefinitionFile))
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	found := false
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if looksLikeBundle(e.Name()) {
			in.bundles = append(in.bundles, name)
			found = true
		} else if _, err := os.Stat(filepath.Join(name, container.DefinitionFile)); err == nil {
			in.definitions = append(in.definitions, filepath.Join(name, container.DefinitionFile))
			found = true
		}
	}
	if !found {
		return fmt.Errorf("%s: %w: it has no %s, no pvrexport (*.tgz, *.tar, *.tar.gz), and no directory with a definition", dir, errNothing, container.DefinitionFile)
	}
	return nil
}

func looksLikeBundle(name string) bool {
	return slices.ContainsFunc([]string{".tgz", ".tar", ".tar.gz", ".tar.bz2", ".tbz2"}, func(ext string) bool { return strings.HasSuffix(name, ext) })
}

// hostArch is this machine's architecture.
func hostArch() (container.Arch, error) {
	a := container.Arch(cmp.Or(map[string]string{"arm": "armv7"}[runtime.GOARCH], runtime.GOARCH))
	if !slices.Contains(container.Archs(), a) {
		return "", fmt.Errorf("containers cannot be built for this machine's architecture %s: want one of %s", a, strings.Join(archNames(), ", "))
	}
	return a, nil
}

// collect makes a directory of all of them: built bundles, and links to those
// that are there. It replaces what was in it.
func (in *inputs) collect(ctx context.Context, env Env, jobs int, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := in.build(ctx, env, jobs, dir); err != nil {
		return err
	}
	for i, file := range in.bundles {
		abs, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		link := filepath.Join(dir, filepath.Base(file))
		if _, err := os.Lstat(link); err == nil { // the name alone does not tell them apart
			link = filepath.Join(dir, fmt.Sprintf("%s.%d", filepath.Base(file), i))
		}
		if err := os.Symlink(abs, link); err != nil {
			return err
		}
		in.links[link] = file
	}
	return nil
}

// names puts what somebody gave into a text instead of the links to it.
func (in *inputs) names() *strings.Replacer {
	var pairs []string
	for _, link := range slices.Backward(slices.Sorted(maps.Keys(in.links))) { // a.tgz.1 before a.tgz
		pairs = append(pairs, link, in.links[link])
	}
	return strings.NewReplacer(pairs...)
}

func (in *inputs) build(ctx context.Context, env Env, jobs int, dir string) error {
	if len(in.definitions) == 0 {
		return nil
	}
	arch, err := hostArch()
	if err != nil {
		return err
	}
	defs, err := definitions(env, in.definitions)
	if err != nil {
		return err
	}
	list, err := plan(defs, []container.Arch{arch}, dir)
	if err != nil {
		return err
	}
	opts, err := builderOptions(env)
	if err != nil {
		return err
	}
	// What matters here is how soon it runs.
	opts.Image.Preset = "fast"
	quiet := env
	quiet.Stdout = io.Discard // the table of results
	return buildJobs(ctx, quiet, buildFlags{out: dir, jobs: jobs}, opts, list)
}

// explain names the file that somebody gave instead of the link to it.
func (in *inputs) explain(err error) error {
	if bad, ok := errors.AsType[*enginestore.ApplyError](err); ok && in.links[bad.File] != "" {
		return fmt.Errorf("%s cannot be run: %w", in.links[bad.File], bad.Err)
	}
	return err
}
