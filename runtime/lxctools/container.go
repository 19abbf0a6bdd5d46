package lxctools

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/rundir"
)

// version is the LXC whose output this is.
const version = "5.0.2"

// The states of LXC that occur here.
const (
	stopped  = "STOPPED"
	starting = "STARTING"
	running  = "RUNNING"
)

// state is LXC's word for a container.
func state(c rundir.Container) string {
	switch {
	case c.Alive():
		return running
	case c.Status == pvctrl.StatusStarting:
		return starting
	}
	return stopped
}

// load reads the list. The option -P and LXC_PATH name directories of LXC's;
// where one is a run directory, it counts.
func load(env program.Env, lxcPath string) ([]rundir.Container, error) {
	dir := rundir.Dir(env.Getenv)
	for _, d := range []string{lxcPath, env.Getenv("LXC_PATH")} {
		if d != "" && exists(filepath.Join(d, rundir.File)) {
			dir = d
			break
		}
	}
	list, err := rundir.Read(dir)
	if errors.Is(err, rundir.ErrNoRuntime) && lxcPath != "" && !exists(lxcPath) {
		return nil, fmt.Errorf("%s: there is no such directory", lxcPath)
	}
	return list, err
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func byName(list []rundir.Container) []rundir.Container {
	return slices.SortedFunc(slices.Values(list), func(a, b rundir.Container) int { return strings.Compare(a.Name, b.Name) })
}

// flag is an option: its letter ("" for none) and its long name. value tells
// that a value follows.
type flag struct {
	short, long string
	value       bool
	set         func(string) error
}

// usageError is a wrong command line, in the words of getopt_long.
type usageError string

func (e usageError) Error() string { return string(e) }

// fail tells what is wrong, with the help where that helps. It returns the exit
// code.
func fail(env program.Env, err error, help string) int {
	env.Errorf("%v", err)
	if _, ok := errors.AsType[usageError](err); ok {
		io.WriteString(env.Stderr, help)
	}
	return 1
}

// parse reads options as getopt_long does, as far as these programs need it: -f,
// -fP dir, -Pdir, --name=value and --name value.
func parse(args []string, known []flag) (rest []string, err error) {
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		switch {
		case a == "--":
			return append(rest, args...), nil
		case strings.HasPrefix(a, "--"):
			args, err = parseLong(a[2:], args, known)
		case len(a) > 1 && a[0] == '-':
			args, err = parseShort(a[1:], args, known)
		default:
			rest = append(rest, a)
		}
		if err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func parseLong(a string, args []string, known []flag) ([]string, error) {
	name, value, has := strings.Cut(a, "=")
	i := slices.IndexFunc(known, func(f flag) bool { return f.long == name })
	if i < 0 {
		return nil, usageError(fmt.Sprintf("unrecognized option '--%s'", name))
	}
	f := known[i]
	switch {
	case has && !f.value:
		return nil, usageError(fmt.Sprintf("option '--%s' doesn't allow an argument", name))
	case !f.value || has:
		return args, f.set(value)
	case len(args) == 0:
		return nil, usageError(fmt.Sprintf("option '--%s' requires an argument", name))
	}
	return args[1:], f.set(args[0])
}

func parseShort(a string, args []string, known []flag) ([]string, error) {
	for a != "" {
		i := slices.IndexFunc(known, func(f flag) bool { return f.short == a[:1] })
		if i < 0 {
			return nil, usageError(fmt.Sprintf("invalid option -- '%s'", a[:1]))
		}
		f, rest := known[i], a[1:]
		if !f.value {
			if err := f.set(""); err != nil {
				return nil, err
			}
			a = rest
			continue
		}
		if rest == "" && len(args) == 0 {
			return nil, usageError(fmt.Sprintf("option requires an argument -- '%s'", f.short))
		}
		if rest == "" {
			rest, args = args[0], args[1:]
		}
		return args, f.set(rest)
	}
	return args, nil
}

func yes(p *bool) func(string) error { return func(string) error { *p = true; return nil } }

func text(p *string) func(string) error { return func(v string) error { *p = v; return nil } }

// common are the options that every program of LXC has; log files and levels
// mean nothing here.
func common(path *string, help, quiet, ver *bool) []flag {
	var ignored string
	return []flag{
		{"P", "lxcpath", true, text(path)},
		{"q", "quiet", false, yes(quiet)},
		{"?", "help", false, yes(help)},
		{"h", "usage", false, yes(help)},
		{"", "version", false, yes(ver)},
		{"o", "logfile", true, text(&ignored)},
		{"l", "logpriority", true, text(&ignored)},
		{"", "rcfile", true, text(&ignored)},
	}
}
