package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/appengine"
	"github.com/pvkit/pvkit/runtime/appengine/settings"
	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/rundir"
)

// Exit codes.
const (
	exitStopped    = 0
	exitFailed     = 1
	exitPoweredOff = 3 // as the real runtime tells its wrapper
	exitUsage      = 64
)

// process is what main gathers.
type process struct {
	args       []string
	in         io.Reader
	out, errs  io.Writer
	env        []string
	getenv     func(string) string
	executable func() (string, error)
}

// Where the real program's image has things.
const (
	imageConfig  = "/etc/pantavisor-appengine.config"
	imageExports = "/usr/lib/pantavisor/pvtx.d"
	imageExtra   = "/usr/lib/pantavisor/pvtx.extra.d" // besides, for a first revision with a name
)

func run(ctx context.Context, p process) int {
	f, err := parse(p.args, p.errs)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitStopped
	case err != nil:
		fmt.Fprintf(p.errs, "pv-appengine: %v\nRun 'pv-appengine -h' for usage.\n", err)
		return exitUsage
	case f.version:
		fmt.Fprintln(p.out, "pv-appengine", program.Version())
		return exitStopped
	}
	out := &reporter{w: p.out, json: f.json}
	opts, err := options(f, p, out)
	if err != nil {
		fmt.Fprintln(p.errs, "pv-appengine:", err)
		return exitFailed
	}
	if f.manual {
		if err = appengine.Prepare(ctx, opts); err == nil {
			fmt.Fprintf(p.out, "storage %s is ready\n", opts.Storage)
			return exitStopped
		}
	}
	end := appengine.Stopped
	if err == nil {
		end, err = appengine.Run(ctx, opts)
	}
	switch {
	case err != nil:
		fmt.Fprintln(p.errs, "pv-appengine:", err)
		return exitFailed
	case end == appengine.PoweredOff:
		return exitPoweredOff
	}
	return exitStopped
}

// options turns the command line, the environment and the settings file into
// what the engine needs.
func options(f flags, p process, out *reporter) (appengine.Options, error) {
	o := appengine.Options{
		Revision: first(f.revision, p.getenv("PV_APPENGINE_INITIAL_REV")), RestartDelay: f.delay,
		Extract: f.extract, Version: program.Version(), Watch: out.event, Stdout: p.out,
	}
	for _, name := range []string{"VALGRIND", "PV_LOOP_INDEX_BASE", "PV_DEBUG_SSH_PUBKEY", "PV_DEBUG_SSH_AUTHORIZED_KEYS"} {
		if p.getenv(name) != "" {
			out.note(name + " is set and means nothing here (see pv-appengine -h)")
		}
	}
	config, err := readConfig(f.config)
	if err != nil {
		return o, err
	}
	o.Settings = settings.Sources{Policy: os.ReadFile, Cmdline: f.cmdline, Environ: append(p.env[:len(p.env):len(p.env)], f.envs...)}
	if p.getenv("VERBOSE") == "true" {
		o.Settings.Environ = append(o.Settings.Environ, "PV_LOG_LEVEL=5")
	}
	if config != nil {
		o.Settings.Config, o.Settings.ConfigName = config, first(f.config, imageConfig)
	}
	if o.Boot, err = bootWords(f.cmdline); err != nil {
		return o, err
	}
	if err := directories(&o, f, p.getenv); err != nil {
		return o, err
	}
	if err := exports(&o, f.dir, out); err != nil {
		return o, err
	}
	for _, v := range f.envs {
		if name, _, _ := strings.Cut(v, "="); !settings.Known(name) {
			out.note(fmt.Sprintf("-e %s: there is no such setting; GET /config2 lists them ('pvcontrol conf ls --table')", v))
		}
	}
	o.XConnect, err = mesh(f.xconnect, p)
	if f.interrupt {
		o.Restart = prompt(p.in, p.out)
	}
	return o, err
}

// exports decides what a new storage is filled with: a directory that was
// given, or those of the real program's image.
func exports(o *appengine.Options, dir string, out *reporter) error {
	o.Exports = []string{first(dir, imageExports)}
	if o.Revision != "" && dir == "" {
		o.Exports = append(o.Exports, imageExtra)
	}
	filled := storage.Filled(o.Storage)
	if dir == "" {
		if _, err := os.Stat(imageExports); err != nil && !filled {
			out.note("no directory of pvrexports is given: the first revision is empty")
		}
		return nil
	}
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("there is no %s: name the directory that holds the pvrexports", dir)
	case err != nil:
		return fmt.Errorf("look for pvrexports: %w", err)
	case !st.IsDir():
		return fmt.Errorf("%s is not a directory: name the one that holds the pvrexports", dir)
	case filled:
		out.note(fmt.Sprintf("storage %s was filled at its first start and goes on with that: %s is not looked at; another --storage begins with it", o.Storage, dir))
	}
	return nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// readConfig reads the settings file; the image's own need not be there.
func readConfig(name string) ([]byte, error) {
	if name != "" {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("--config: read settings: %w", err)
		}
		return b, nil
	}
	b, err := os.ReadFile(imageConfig)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// directories decides where the storage and the run directory are: flags win
// over the settings file, and without either they lie below the user's state.
func directories(o *appengine.Options, f flags, getenv func(string) string) error {
	o.Storage, o.RunDir = f.storage, f.rundir
	if o.Settings.Config != nil && (o.Storage == "" || o.RunDir == "") {
		t, _, err := settings.Load(o.Settings)
		if err != nil {
			return err
		}
		o.Storage = first(o.Storage, t.Text(settings.StorageMntpoint))
		o.RunDir = first(o.RunDir, t.Text(settings.SystemRundir))
	}
	if o.Storage != "" && o.RunDir != "" {
		return nil
	}
	state, ok := rundir.UserState(getenv)
	if !ok {
		return errors.New("there is no home directory to keep things in: set --storage and --rundir")
	}
	state = filepath.Join(state, "pv-appengine")
	o.Storage = first(o.Storage, filepath.Join(state, "storage"))
	o.RunDir = first(o.RunDir, filepath.Join(state, "run", "pv"))
	return nil
}

// bootWords reads pv_rev and pv_try of a command line.
func bootWords(cmdline string) (b storage.Boot, err error) {
	for word := range strings.FieldsSeq(cmdline) {
		if v, ok := strings.CutPrefix(word, "pv_rev="); ok {
			b.Rev = v
		}
		if v, ok := strings.CutPrefix(word, "pv_try="); ok {
			b.Try = v
		}
	}
	if b.Try != "" && b.Rev == "" {
		err = fmt.Errorf("-c %q: pv_try needs a pv_rev to go back to", cmdline)
	}
	return b, err
}

// mesh finds pv-xconnect: as asked for, beside this program, or on the PATH.
func mesh(asked string, p process) ([]string, error) {
	program, err := appengine.FindXConnect(asked, p.executable, p.getenv("PATH"))
	if err != nil {
		return nil, fmt.Errorf("--xconnect: %w", err)
	}
	return program, nil
}

// promptTime is how long -i waits.
const promptTime = 5 * time.Second

// prompt asks before a restart: a line ends the program.
func prompt(in io.Reader, out io.Writer) func(context.Context) bool {
	lines := make(chan struct{})
	go func() {
		for s := bufio.NewScanner(in); s.Scan(); {
			lines <- struct{}{}
		}
	}()
	return func(ctx context.Context) bool {
		for drained := false; !drained; { // lines from before do not count
			select {
			case <-lines:
			default:
				drained = true
			}
		}
		fmt.Fprintf(out, "Will restart in %v. Press ENTER to end\n", promptTime)
		t := time.NewTimer(promptTime)
		defer t.Stop()
		select {
		case <-lines:
			return false
		case <-ctx.Done():
			return false
		case <-t.C:
			return true
		}
	}
}

// reporter prints what happens, a line each.
type reporter struct {
	w    io.Writer
	json bool
}

func (r *reporter) note(text string) {
	r.event(appengine.Event{Time: time.Now(), Kind: appengine.EventNote, Text: text})
}

// event prints one; its line is one write, so lines do not mix.
func (r *reporter) event(e appengine.Event) {
	var b bytes.Buffer
	if r.json {
		if err := json.NewEncoder(&b).Encode(e); err != nil {
			return
		}
	} else if text := e.String(); text != "" {
		level := "INFO"
		switch e.Kind {
		case appengine.EventError:
			level = "ERROR"
		case appengine.EventNote:
			level = "WARN"
		}
		fmt.Fprintf(&b, "[pv-appengine] %d %s -- %s\n", e.Time.Unix(), level, text)
	}
	_, _ = r.w.Write(b.Bytes()) // there is nobody to tell
}
