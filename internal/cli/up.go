package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/appengine"
	pvconf "github.com/pvkit/pvkit/runtime/appengine/settings"
	"github.com/pvkit/pvkit/runtime/rundir"
)

// upFlags are those of pvkit up.
type upFlags struct {
	state    string
	jobs     int
	logs     bool
	json     bool
	extract  bool
	xconnect string
	set      []string
}

func upCommand(env Env) *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use:   "up [DIR | FILE]...",
		Short: "Build what needs building, run it, and show what runs",
		Long: `Build what needs building, run it as Pantavisor's appengine does, and show what
runs until Ctrl-C stops it; a second Ctrl-C does not wait.

Each argument is a directory with a container.yaml, which is built for this
machine, a directory with pvrexports, or a pvrexport. A directory with neither
stands for the directories in it that have a container.yaml. Without arguments
it is the current directory. Of several pvrexports of one container those for
other machines are left out.

Without --state everything starts from nothing: what an earlier run stored is
removed. With it, the directory's storage goes on, with its volumes, and
arguments that are not what it runs become a new revision, which is tried and
rolled back if it does not stay up.

It needs root, or user namespaces that this user may make: then images are
copied instead of mounted. Nothing of the machine is touched outside the state
directory but a cgroup, and the bridges of pools if a device.json has them.

With --json a line is an event: an object with "time", "kind", and what belongs
to it: "revision", "container", "status", "pid", "text", "links". The kinds are
apply, load, serving, container, system, links, progress, stopping, restart,
note and error; runtime/README.md has the table.

Exit codes: 0 stopped or powered off, 2 failure, 64 usage.`,
		Example: `  pvkit up examples/pv-example-unix-*
  pvkit up out                            # a directory of pvrexports
  pvkit up --logs web db.pvrexport.tgz    # with what the containers print
  pvkit up --state ~/device web           # what it stores stays
  pvkit up --json web | jq 'select(.kind == "container")'`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := exclusive(c, "json", "logs"); err != nil {
				return err
			}
			for _, s := range f.set {
				if key, _, ok := strings.Cut(s, "="); !ok || !strings.HasPrefix(key, "PV_") {
					return usagef("--set %s: want PV_KEY=VALUE", s)
				}
			}
			return up(c.Context(), env, f, args)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.state, "state", "", "keep the storage in this `directory`, and go on with what it has")
	fl.IntVarP(&f.jobs, "jobs", "j", 0, "builds at the same time (default one a CPU)")
	fl.BoolVar(&f.logs, "logs", false, "print what the containers print, too")
	fl.BoolVar(&f.json, "json", false, "print what happens as JSON, an object a line")
	fl.BoolVar(&f.extract, "extract", false, "copy images instead of mounting them")
	fl.StringVar(&f.xconnect, "xconnect", "", "the pv-xconnect `program` that links containers, or none (default: beside pvkit, or on PATH)")
	fl.StringArrayVar(&f.set, "set", nil, "a setting of the runtime, `KEY=VALUE`, such as PV_LOG_LEVEL=5; may be repeated")
	_ = c.MarkFlagDirname("state")
	_ = c.RegisterFlagCompletionFunc("set", func(*cobra.Command, []string, string) (words []string, _ cobra.ShellCompDirective) {
		for _, s := range pvconf.New().List() {
			if strings.HasPrefix(s.Key, "PV_") {
				words = append(words, s.Key+"=")
			}
		}
		return words, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

// up is pvkit up.
func up(ctx context.Context, env Env, f upFlags, args []string) error {
	given, err := upInputs(args)
	if err != nil {
		return err
	}
	dir, err := upState(env, f.state)
	if err != nil {
		return err
	}
	opts, err := upOptions(env, f, dir)
	if err != nil {
		return err
	}
	release, err := ownState(dir)
	if err != nil {
		return err
	}
	defer release()
	if f.state == "" {
		if err := appengine.Forget(opts); err != nil {
			return err
		}
	}
	if err := given.collect(ctx, env, f.jobs, opts.Exports[0]); err != nil {
		return err
	}
	leftOut, err := forHere(ctx, opts.Exports[0])
	if err != nil {
		return err
	}
	// Whoever reads what we print may end first. That stops us in order; by
	// default it would kill us, and the containers' mounts would stay.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	view := newUpView(env, f, opts)
	view.names = given.names()
	if view.out.w, err = program.Output(env.Stdout, stop); err != nil {
		return err
	}
	if len(leftOut) > 0 {
		view.event(appengine.Event{Time: time.Now(), Kind: appengine.EventNote,
			Text: "left out, as they are for another machine and others for this one: " + strings.Join(leftOut, ", ")})
	}
	opts.Watch, opts.Stdout = view.event, view.out.w
	_, err = appengine.Run(ctx, opts)
	view.finish()
	return given.explain(err)
}

// upOptions are the engine's, with everything below the directory.
func upOptions(env Env, f upFlags, dir string) (opts appengine.Options, err error) {
	opts = appengine.Options{
		Storage: filepath.Join(dir, "storage"), RunDir: filepath.Join(dir, "run", "pv"),
		Exports: []string{filepath.Join(dir, "exports")},
		Refresh: f.state != "", Extract: f.extract, Version: "pvkit " + buildVersion().String(),
		Settings: pvconf.Sources{Environ: f.set},
	}
	if f.logs {
		opts.Settings.Environ = append(opts.Settings.Environ, "PV_LOG_SERVER_OUTPUTS=filetree,stdout_containers")
	}
	opts.XConnect, err = findMesh(env, f.xconnect)
	return opts, err
}

// ownState takes the directory for this process: what is built for one run must
// not be another one's.
func ownState(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another pvkit up runs in %s: to run one beside it, say --state and another directory", dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { // explicitly: a process that is just being made may have a copy of the descriptor
		syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		f.Close()
	}, nil
}

// upState is the directory for everything of a run.
func upState(env Env, asked string) (string, error) {
	if asked != "" {
		return filepath.Abs(asked)
	}
	state, ok := rundir.UserState(env.Getenv)
	if !ok {
		return "", usagef("up: there is no home directory to keep things in: say --state")
	}
	return filepath.Join(state, "pvkit", "up"), nil
}

// findMesh finds pv-xconnect: as asked for, beside this program, or on PATH.
func findMesh(env Env, asked string) ([]string, error) {
	program, err := appengine.FindXConnect(asked, os.Executable, env.Getenv("PATH"))
	if err != nil {
		return nil, usagef("--xconnect: %w", err)
	}
	return program, nil
}

// errNothing: the arguments hold nothing to run.
var errNothing = errors.New("there is nothing to run")
