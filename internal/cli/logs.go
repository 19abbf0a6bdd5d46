package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/runtime/appengine/logs"
	pvconf "github.com/pvkit/pvkit/runtime/appengine/settings"
	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/rundir"
)

// appengineConfig is the settings file of an appengine installation.
const appengineConfig = "/etc/pantavisor-appengine.config"

// appengineStorage is the storage that pv-appengine uses when nothing is said:
// that of the settings file, or one below the user's state.
func appengineStorage(env Env) (string, error) {
	data, err := os.ReadFile(appengineConfig)
	switch {
	case err == nil:
		t, _, err := pvconf.Load(pvconf.Sources{Config: data, ConfigName: appengineConfig, Policy: os.ReadFile})
		if err != nil {
			return "", err
		}
		if dir := t.Text(pvconf.StorageMntpoint); dir != "" {
			return dir, nil
		}
	case !errors.Is(err, os.ErrNotExist):
		return "", err
	}
	state, ok := rundir.UserState(env.Getenv)
	if !ok {
		return "", usagef("logs: there is no home directory: say --storage")
	}
	return newestLogs(state), nil
}

// newestLogs is the storage below the user's state whose runtime began last:
// that of pv-appengine, or of pvkit up.
func newestLogs(state string) string {
	var newest string
	var began time.Time
	for _, name := range []string{"pv-appengine", filepath.Join("pvkit", "up")} {
		dir := filepath.Join(state, name, "storage")
		// A start makes the link anew.
		if st, err := os.Lstat(filepath.Join(dir, "logs", "current")); newest == "" || err == nil && st.ModTime().After(began) {
			newest = dir
			if err == nil {
				began = st.ModTime()
			}
		}
	}
	return newest
}

// logsFlags are those of pvkit logs.
type logsFlags struct {
	storage string
	since   string
	rev     string
	last    int
	follow  bool
	json    bool
	times   bool
}

func logsCommand(env Env) *cobra.Command {
	var f logsFlags
	c := &cobra.Command{
		Use:   "logs [CONTAINER...]",
		Short: "Show and follow what the runtime and its containers log",
		Long: `Show and follow what the runtime and its containers log, merged by time: the
consoles, the log files inside the containers, what programs send to the log
sockets, and the runtime's own log under the name "pantavisor".

Older, compressed parts are read too. With --follow it goes on through rotations
and new revisions until it is interrupted. The appengine need not run.`,
		Example: `  pvkit logs                         # everything of the running revision
  pvkit logs -f web                  # follow one container
  pvkit logs -n 20 -t pantavisor     # the runtime's last 20 lines, with times
  pvkit logs --since 10m --json | jq 'select(.level == "ERROR")'
  pvkit logs --rev locals/try --storage /tmp/storage`,
		RunE: func(c *cobra.Command, args []string) error { return runLogs(c, env, &f, args) },
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			dir, err := logDir(c.Context(), env, f.storage)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			names, err := logs.Containers(dir)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) }), cobra.ShellCompDirectiveNoFileComp
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.storage, "storage", "", "the runtime's storage or run `directory`, or the log directory itself (default: of pv-appengine or pvkit up, what began last)")
	fl.BoolVarP(&f.follow, "follow", "f", false, "go on with what is logged")
	fl.StringVar(&f.since, "since", "", "leave out what is older: `10m`, 2026-05-15, or 2026-05-15T16:48:18Z")
	fl.IntVarP(&f.last, "tail", "n", 0, "only the last `lines` of what is there (0: all)")
	fl.StringVar(&f.rev, "rev", "", "the logs of this `revision` instead of the running one")
	fl.BoolVarP(&f.times, "timestamps", "t", false, "print when each line was written")
	fl.BoolVar(&f.json, "json", false, "print a JSON object a line")
	return c
}

// logDir finds the logs in what --storage says. A run directory has its logs in
// sight of the containers only, so its runtime is asked where they are.
func logDir(ctx context.Context, env Env, dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = appengineStorage(env); err != nil {
			return "", err
		}
	}
	sub := filepath.Join(dir, "logs")
	for _, d := range []string{sub, dir, filepath.Join(dir, "storage", "logs")} {
		if _, err := os.Lstat(filepath.Join(d, "current")); err == nil {
			return d, nil
		}
	}
	for _, socket := range []string{filepath.Join(dir, "pv-ctrl"), filepath.Join(dir, "pv", "pv-ctrl")} {
		if _, err := os.Lstat(socket); err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		list, err := pvctrl.NewClient(socket).Settings(ctx)
		if err != nil {
			return "", fmt.Errorf("ask the runtime where its logs are: %w", err)
		}
		for _, s := range list {
			if s.Key == string(pvconf.LogDir) && isDir(s.Value) {
				return s.Value, nil
			}
		}
	}
	if isDir(sub) {
		return sub, nil
	}
	return dir, nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

func runLogs(c *cobra.Command, env Env, f *logsFlags, names []string) error {
	if f.last < 0 {
		return usagef("logs: --tail %d: write a number of lines", f.last)
	}
	since, err := parseSince(f.since, time.Now())
	if err != nil {
		return usageError{err}
	}
	dir, err := logDir(c.Context(), env, f.storage)
	if err != nil {
		return err
	}
	known, err := logs.Containers(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: --storage says where the runtime keeps its storage", err)
	case err != nil && !errors.Is(err, logs.ErrNoLogs):
		return err
	}
	if f.rev == "" {
		for _, n := range names {
			if slices.Contains(known, n) {
				continue
			}
			if !f.follow {
				return fmt.Errorf("%s has logged nothing in %s; there are logs of %s", n, dir, orNobody(known))
			}
			fmt.Fprintf(env.Stderr, "pvkit: %s has logged nothing so far\n", n)
		}
	}
	w := bufio.NewWriter(env.Stdout)
	p := newLogPrinter(w, env, f, append(known, names...))
	err = logs.Read(c.Context(), dir, logs.ReadOptions{
		Containers: names, Revision: f.rev, Since: since, Last: f.last, Follow: f.follow,
	}, func(e logs.Entry) error {
		if err := p.print(e); err != nil {
			return err
		}
		if f.follow {
			return w.Flush()
		}
		return nil
	})
	return errors.Join(err, w.Flush())
}

func orNobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// parseSince reads a duration before now, a day, or a time.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("logs: --since %q: write 10m, 2h, 3d, 2026-05-15 or 2026-05-15T16:48:18Z", text)
}
