package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/layer/lint"
)

// layerFlags say where layers, a build directory and oe-core are.
type layerFlags struct {
	dir, poky, oeCore, build string
	layers                   []string
}

func (l *layerFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&l.dir, "directory", "C", "", "the project's `directory` (default: found from here upwards)")
	f.StringVar(&l.oeCore, "oe-core", "", "the `directory` of oe-core's layer (poky's meta)")
	f.StringVar(&l.poky, "poky", "", "the `directory` of a poky checkout: its meta and meta-poky are used")
	f.StringArrayVar(&l.layers, "layer", nil, "a further layer `directory` that is used and not looked at; may be repeated")
	f.StringVar(&l.build, "build", "", "a build `directory` with conf/bblayers.conf and conf/local.conf")
	c.MarkFlagsMutuallyExclusive("oe-core", "poky")
}

const layerHelp = `
The project is found from the current directory upwards: the first directory
that holds .pvkit.yaml, conf/layer.conf or .git. A build directory is --build,
the current directory, or BUILDDIR or BBPATH of the environment; without one,
configurations are read from kas files, distros and machines. oe-core is used
when it is there: --oe-core, --poky, "oe-core" in .pvkit.yaml, or a checkout
inside of the project; without it evaluation goes on and says what is missing.`

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// projectRoot is the project that a path belongs to.
func projectRoot(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return "", err
	}
	start := abs
	if !info.IsDir() {
		start = filepath.Dir(abs)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if isFile(filepath.Join(dir, lint.SettingsFile)) || isFile(filepath.Join(dir, "conf/layer.conf")) {
			return dir, nil
		}
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return start, nil
		}
	}
}

// settings reads .pvkit.yaml of a root, if there is one.
func settings(root string) (*lint.Settings, error) {
	f, err := os.Open(filepath.Join(root, lint.SettingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &lint.Settings{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := lint.ParseSettings(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return s, nil
}

// open opens the project of a root directory.
func (l *layerFlags) open(ctx context.Context, env Env, root string, o lint.OpenOptions) (*lint.Project, *lint.Settings, error) {
	s, err := settings(root)
	if err != nil {
		return nil, nil, err
	}
	o.Root, o.Settings = root, s
	if o.BuildDir, err = l.buildDir(env, root, s); err != nil {
		return nil, nil, err
	}
	for _, dir := range l.below(root, s) {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, nil, err
		}
		if !isFile(filepath.Join(abs, "conf/layer.conf")) {
			return nil, nil, fmt.Errorf("%s is no layer: it has no conf/layer.conf", dir)
		}
		o.Below = append(o.Below, abs)
	}
	p, err := lint.Open(ctx, os.DirFS("/"), o)
	return p, s, err
}

// below lists the layers that flags and settings name.
func (l *layerFlags) below(root string, s *lint.Settings) []string {
	var out []string
	inRoot := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(root, name)
	}
	switch {
	case l.oeCore != "":
		out = append(out, l.oeCore)
	case l.poky != "":
		out = append(out, filepath.Join(l.poky, "meta"), filepath.Join(l.poky, "meta-poky"))
	case s.OECore != "":
		out = append(out, inRoot(s.OECore))
	}
	for _, name := range s.Layers {
		out = append(out, inRoot(name))
	}
	return append(out, l.layers...)
}

// buildDir finds the build directory, "" when there is none.
func (l *layerFlags) buildDir(env Env, root string, s *lint.Settings) (string, error) {
	has := func(dir string) bool { return dir != "" && isFile(filepath.Join(dir, "conf/bblayers.conf")) }
	named := l.build
	if named == "" && s.Build != "" {
		named = filepath.Join(root, s.Build)
	}
	if named != "" {
		if !has(named) {
			return "", fmt.Errorf("%s is no build directory: it has no conf/bblayers.conf", named)
		}
		return filepath.Abs(named)
	}
	bbpath, _, _ := strings.Cut(env.Getenv("BBPATH"), ":")
	for _, dir := range []string{".", env.Getenv("BUILDDIR"), bbpath} {
		if has(dir) {
			return filepath.Abs(dir)
		}
	}
	return "", nil
}

// openHere opens the project that the flags or the current directory name.
func (l *layerFlags) openHere(ctx context.Context, env Env) (*lint.Project, error) {
	root := l.dir
	if root == "" {
		root = "."
	}
	root, err := projectRoot(root)
	if err != nil {
		return nil, err
	}
	p, _, err := l.open(ctx, env, root, lint.OpenOptions{})
	return p, err
}
