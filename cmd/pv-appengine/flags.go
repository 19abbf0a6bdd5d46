package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// flags is the command line: the options of the real pv-appengine (its script
// appengine/pv-appengine.in), one letter each, and ours.
type flags struct {
	dir      string // pvrexports for the first start
	config   string
	storage  string
	rundir   string
	xconnect string
	revision string

	interrupt bool          // -i
	manual    bool          // -m
	cmdline   string        // -c
	envs      []string      // -e
	delay     time.Duration // -d

	extract bool
	json    bool
	version bool
}

const usageText = `usage: pv-appengine [options] [DIR]

Runs the pvrexports of DIR as Pantavisor's appengine does. They are taken into
the storage in alphabetical order at the first start; later starts go on with
what the storage has. Without DIR it is what the real program's image has:
/usr/lib/pantavisor/pvtx.d, and for a first revision with a name pvtx.extra.d.

The real program's options:
  -h          this text
  -i          before a restart wait 5 s for ENTER, which ends the program
  -m          prepare the storage, say where it is, and end (there, a shell
              follows; here you have one already)
  -c CMDLINE  words KEY=VALUE as on the kernel's command line, among them
              pv_rev and pv_try
  -e ENVS     assignments PV_…=VALUE, with blanks between
  -d SECS     delay before a restart (default 5)
  -V          valgrind: nothing here that it could look at, so it is refused

`

func parse(args []string, errs io.Writer) (flags, error) {
	f := flags{delay: 5 * time.Second}
	fs := flag.NewFlagSet("pv-appengine", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&f.interrupt, "i", false, "")
	fs.BoolVar(&f.manual, "m", false, "")
	fs.StringVar(&f.cmdline, "c", "", "")
	fs.Func("e", "", func(v string) error { return addEnvs(&f.envs, v) })
	fs.Func("d", "", func(v string) (err error) { f.delay, err = seconds(v); return err })
	valgrind := fs.Bool("V", false, "")
	own := map[string]string{}
	str := func(p *string, name, arg, text string) {
		fs.StringVar(p, name, "", text)
		own[name] = arg
	}
	str(&f.config, "config", "FILE", "settings (default /etc/pantavisor-appengine.config, if it is there)")
	str(&f.storage, "storage", "DIR", "storage (default PV_STORAGE_MNTPOINT of the settings file, else STATE/storage)")
	str(&f.rundir, "rundir", "DIR", "sockets and what containers see of the runtime (default PV_SYSTEM_RUNDIR of the settings file, else STATE/run)")
	str(&f.xconnect, "xconnect", "FILE", "the pv-xconnect to run (default beside this program, then PATH; \"none\" for none)")
	str(&f.revision, "revision", "REV", "name of the first revision (default PV_APPENGINE_INITIAL_REV, else 0)")
	fs.BoolVar(&f.extract, "extract", false, "extract images instead of mounting them")
	fs.BoolVar(&f.json, "json", false, "print what happens as JSON, one object a line")
	fs.BoolVar(&f.version, "version", false, "print the version")
	fs.Usage = func() {}
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		printUsage(errs, fs, own)
		return f, err
	case err != nil:
		return f, errors.New(flagWords.Replace(err.Error()))
	case *valgrind:
		return f, errors.New("-V: valgrind looks for memory that C programs lose; this one is written in Go")
	case fs.NArg() > 1:
		return f, fmt.Errorf("unexpected argument %q: there is one DIR", fs.Arg(1))
	}
	f.dir = fs.Arg(0)
	return f, nil
}

// flagWords makes what package flag says what the user needs to know.
var flagWords = strings.NewReplacer(
	"flag provided but not defined: ", "there is no option ",
	"flag needs an argument: ", "a value is missing after ",
	"invalid value ", "the value ", " for flag ", " of ",
)

func printUsage(w io.Writer, fs *flag.FlagSet, own map[string]string) {
	fmt.Fprint(w, usageText, "Ours:\n")
	fs.VisitAll(func(o *flag.Flag) {
		if o.Usage != "" {
			fmt.Fprintf(w, "  --%-16s %s\n", strings.TrimSpace(o.Name+" "+own[o.Name]), o.Usage)
		}
	})
	fmt.Fprint(w, `
STATE is $XDG_STATE_HOME/pv-appengine, or ~/.local/state/pv-appengine. Nothing
of the machine is touched outside storage and run directory but a cgroup
"pantavisor-…", and bridges of pools when a state has pools.

Environment: PV_* and PH_* are settings; VERBOSE=true logs at level TRACE;
PV_APPENGINE_INITIAL_REV names the first revision. Without meaning here, and
named when they are set: VALGRIND (as -V), PV_LOOP_INDEX_BASE (the kernel gives
the loop devices), PV_DEBUG_SSH_PUBKEY and PV_DEBUG_SSH_AUTHORIZED_KEYS (there
is no ssh server; use pventer).

Signals: INT powers off, TERM restarts and so ends, as the real wrapper does.
The end of its terminal, or of who reads its output, is as TERM.
Exit codes: 0 stopped, 1 the storage, the settings or the state cannot be used,
3 powered off, 64 usage.
`)
}

// seconds reads a number of seconds, as the script takes it, or a duration.
func seconds(v string) (time.Duration, error) {
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is neither seconds nor a duration such as 1m30s", v)
	}
	return d, nil
}

// addEnvs splits assignments at blanks; quotes keep blanks together, as in the
// shell that the script hands them to.
func addEnvs(to *[]string, text string) error {
	words, err := splitWords(text)
	if err != nil {
		return err
	}
	for _, w := range words {
		if name, _, ok := strings.Cut(w, "="); !ok || name == "" {
			return fmt.Errorf("%q is not an assignment NAME=VALUE", w)
		}
	}
	*to = append(*to, words...)
	return nil
}

// splitWords splits at blanks outside quotes. A backslash keeps the next byte,
// except between single quotes.
func splitWords(text string) ([]string, error) {
	var out []string
	var word strings.Builder
	open, quote := false, byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quote != '\'' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
			open = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, open = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n'):
			if open {
				out = append(out, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote %c is not closed in %s", quote, text)
	}
	if open {
		out = append(out, word.String())
	}
	return out, nil
}
