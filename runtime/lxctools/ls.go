package lxctools

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/rundir"
)

const lsHelp = `Usage: lxc-ls [-1] [-f] [-F COLUMN,…] [--active|--running|--frozen|--stopped] [-g GROUP,…] [FILTER]
List the containers that the runtime knows, as lxc-ls of LXC does.

  -1, --line          one name a line, nothing else
  -f, --fancy         a table
  -F, --fancy-format  its columns: NAME, STATE, PID, RAM, SWAP, AUTOSTART, GROUPS,
                      INTERFACE, IPV4, IPV6, UNPRIVILEGED
  --active, --running those that run
  --frozen            those that are frozen: none, the runtime freezes nothing
  --stopped           those that do not run
  --defined           all
  -g, --groups        those that are in all of these groups
  --filter            those whose name a regular expression matches
  --nesting           accepted; containers in containers are not listed
  -P, --lxcpath       the runtime's run directory, if it is one; else that of
                      PV_SYSTEM_RUNDIR, ` + rundir.Default + ` or the user's state
  -?, --help          this text

Examples:
  lxc-ls -f
  lxc-ls --running -1
`

// lsOptions is a command line.
type lsOptions struct {
	line, fancy                      bool
	active, running, frozen, stopped bool
	help, quiet, version             bool
	path, format, groups, filter     string
}

// MainLs is the program lxc-ls.
func MainLs(_ context.Context, env program.Env) int {
	o, err := parseLs(env.Args)
	switch {
	case err != nil:
		return fail(env, err, lsHelp)
	case o.help:
		io.WriteString(env.Stdout, lsHelp)
		return 0
	case o.version:
		fmt.Fprintln(env.Stdout, version)
		return 0
	}
	text, err := o.list(env)
	if err != nil {
		env.Errorf("%v", err)
		return 1
	}
	if o.quiet {
		return 0
	}
	if _, err := io.WriteString(env.Stdout, text); err != nil {
		return 1
	}
	return 0
}

func parseLs(args []string) (*lsOptions, error) {
	o := &lsOptions{}
	var ignored string
	var all bool
	known := append(common(&o.path, &o.help, &o.quiet, &o.version),
		flag{"1", "line", false, yes(&o.line)}, flag{"f", "fancy", false, yes(&o.fancy)},
		flag{"F", "fancy-format", true, text(&o.format)}, flag{"", "active", false, yes(&o.active)},
		flag{"", "running", false, yes(&o.running)}, flag{"", "frozen", false, yes(&o.frozen)},
		flag{"", "stopped", false, yes(&o.stopped)}, flag{"", "defined", false, yes(&all)},
		flag{"", "nesting", true, text(&ignored)}, flag{"g", "groups", true, text(&o.groups)},
		flag{"", "filter", true, text(&o.filter)})
	// --nesting may stand alone.
	for i, a := range args {
		if a == "--nesting" {
			args = slices.Clone(args)
			args[i] = "--nesting=5"
		}
	}
	rest, err := parse(args, known)
	if err != nil {
		return nil, err
	}
	if len(rest) > 1 {
		return nil, usageError(fmt.Sprintf("one filter is allowed, not %q", rest))
	}
	if len(rest) == 1 && o.filter == "" {
		o.filter = rest[0]
	}
	return o, nil
}

// list is the output.
func (o *lsOptions) list(env program.Env) (string, error) {
	all, err := load(env, o.path)
	if err != nil {
		return "", err
	}
	filter, err := regexp.CompilePOSIX(o.filter)
	if err != nil {
		return "", fmt.Errorf("the filter %q is not a regular expression: %w", o.filter, err)
	}
	var chosen []rundir.Container
	for _, c := range byName(all) {
		if filter.MatchString(c.Name) && o.wants(c) {
			chosen = append(chosen, c)
		}
	}
	if o.fancy {
		return o.table(chosen)
	}
	var b strings.Builder
	for _, c := range chosen {
		b.WriteString(c.Name)
		if !o.line {
			b.WriteByte(' ') // as LXC has it
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

func (o *lsOptions) wants(c rundir.Container) bool {
	if o.groups != "" {
		for g := range strings.SplitSeq(o.groups, ",") {
			if g != c.Group {
				return false
			}
		}
	}
	runs := state(c) != stopped
	switch {
	case o.active, o.running, o.frozen, o.stopped:
		return (o.active || o.running) && runs || o.stopped && !runs
	}
	return true
}

var columns = map[string]func(rundir.Container) string{
	"NAME":      func(c rundir.Container) string { return c.Name },
	"STATE":     state,
	"PID":       ifAlive(func(c rundir.Container) string { return strconv.Itoa(c.PID) }),
	"RAM":       ifAlive(func(c rundir.Container) string { u := usageOf(c); return megabytes(u.memory, u.hasMem) }),
	"SWAP":      ifAlive(func(c rundir.Container) string { u := usageOf(c); return megabytes(u.swap, u.hasSwap) }),
	"AUTOSTART": func(c rundir.Container) string { return map[bool]string{false: "0", true: "1"}[c.Autostart] },
	"GROUPS":    func(c rundir.Container) string { return c.Group },
	"INTERFACE": ifAlive(func(c rundir.Container) string { return strings.Join(interfaces(c.PID), ", ") }),
	"IPV4":      ifAlive(func(c rundir.Container) string { v4, _ := addresses(c.PID); return joined(v4) }),
	"IPV6":      ifAlive(func(c rundir.Container) string { _, v6 := addresses(c.PID); return joined(v6) }),
	"UNPRIVILEGED": func(c rundir.Container) string {
		return strconv.FormatBool(c.Unprivileged)
	},
}

func ifAlive(f func(rundir.Container) string) func(rundir.Container) string {
	return func(c rundir.Container) string {
		if !c.Alive() {
			return ""
		}
		return f(c)
	}
}

func megabytes(n uint64, ok bool) string {
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.2fMB", float64(n)/(1<<20))
}

func joined(all []netip.Addr) string {
	var words []string
	for _, a := range all {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

// table is the fancy output. Every cell, the last one too, is filled up to its
// column's width and followed by a blank. Without containers there is nothing,
// not even titles.
func (o *lsOptions) table(list []rundir.Container) (string, error) {
	format := o.format
	if format == "" {
		format = "NAME,STATE,AUTOSTART,GROUPS,IPV4,IPV6,UNPRIVILEGED"
	}
	titles := strings.Split(strings.ToUpper(format), ",")
	rows := [][]string{titles}
	for _, c := range list {
		var row []string
		for _, t := range titles {
			f, ok := columns[t]
			if !ok {
				return "", fmt.Errorf("invalid key: %s; the columns are in lxc-ls --help", t)
			}
			v := f(c)
			if v == "" {
				v = "-"
			}
			row = append(row, v)
		}
		rows = append(rows, row)
	}
	if len(list) == 0 {
		return "", nil
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			width := 0
			for _, r := range rows {
				width = max(width, len(r[i]))
			}
			fmt.Fprintf(&b, "%-*s ", width, cell)
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}
