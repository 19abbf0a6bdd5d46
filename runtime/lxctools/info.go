package lxctools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/rundir"
)

const infoHelp = `Usage: lxc-info [-n] NAME [-s] [-p] [-i] [-S] [-H]
Print facts about a container of the runtime, as lxc-info of LXC does: all of
them, or those that are asked for.

  -n, --name         the container
  -s, --state        STOPPED, STARTING or RUNNING
  -p, --pid          its first process; nothing when it does not run
  -i, --ips          its addresses
  -S, --stats        what it has used
  -H, --no-humanize  numbers and words alone
  -P, --lxcpath      the runtime's run directory, if it is one; else that of
                     PV_SYSTEM_RUNDIR, ` + rundir.Default + ` or the user's state
  -?, --help         this text

Exit code 1: there is no such container.

Examples:
  lxc-info -n my-app
  kill -0 $(lxc-info -n my-app -pH)
`

// infoOptions is a command line.
type infoOptions struct {
	name, path                string
	state, pid, ips, stats    bool
	raw, help, quiet, version bool
}

// MainInfo is the program lxc-info.
func MainInfo(_ context.Context, env program.Env) int {
	o, err := parseInfo(env.Args)
	switch {
	case err != nil:
		return fail(env, err, infoHelp)
	case o.help:
		io.WriteString(env.Stdout, infoHelp)
		return 0
	case o.version:
		fmt.Fprintln(env.Stdout, version)
		return 0
	}
	list, err := load(env, o.path)
	if err != nil {
		env.Errorf("%v", err)
		return 1
	}
	c, ok := rundir.Find(list, o.name)
	if !ok {
		fmt.Fprintf(env.Stderr, "%s doesn't exist\n", o.name)
		return 1
	}
	if !o.quiet {
		if _, err := io.WriteString(env.Stdout, o.facts(c)); err != nil {
			return 1
		}
	}
	return 0
}

func parseInfo(args []string) (*infoOptions, error) {
	o := &infoOptions{}
	config := func(string) error {
		return errors.New("-c is not supported: a container's lxc.container.conf is in its pvrexport")
	}
	rest, err := parse(args, append(common(&o.path, &o.help, &o.quiet, &o.version),
		flag{"n", "name", true, text(&o.name)}, flag{"s", "state", false, yes(&o.state)},
		flag{"p", "pid", false, yes(&o.pid)}, flag{"i", "ips", false, yes(&o.ips)},
		flag{"S", "stats", false, yes(&o.stats)}, flag{"H", "no-humanize", false, yes(&o.raw)},
		flag{"c", "config", true, config}))
	if err != nil {
		return nil, err
	}
	if o.name == "" && len(rest) > 0 {
		o.name = rest[0]
	}
	if o.name == "" && !o.help && !o.version {
		return nil, usageError("No container name specified")
	}
	return o, nil
}

// facts is the output.
func (o *infoOptions) facts(c rundir.Container) string {
	all := !(o.state || o.pid || o.ips || o.stats)
	var b strings.Builder
	line := func(label, value string) {
		if o.raw {
			fmt.Fprintln(&b, value)
		} else {
			fmt.Fprintf(&b, "%-15s %s\n", label+":", value)
		}
	}
	if all {
		line("Name", c.Name)
	}
	if all || o.state {
		line("State", state(c))
	}
	if !c.Alive() {
		return b.String()
	}
	if all || o.pid {
		line("PID", strconv.Itoa(c.PID))
	}
	if all || o.ips {
		v4, v6 := addresses(c.PID)
		for _, a := range append(v4, v6...) {
			line("IP", a.String())
		}
	}
	if all || o.stats {
		o.used(&b, usageOf(c))
	}
	return b.String()
}

// used writes what the cgroups count. The labels stay without humanizing, too.
func (o *infoOptions) used(w io.Writer, u usage) {
	if u.hasCPU {
		value := fmt.Sprintf("%.2f seconds", float64(u.cpu)/1e9)
		if o.raw {
			value = strconv.FormatUint(u.cpu, 10)
		}
		fmt.Fprintf(w, "%-15s %s\n", "CPU use:", value)
	}
	if u.hasMem {
		value := human(u.memory)
		if o.raw {
			value = strconv.FormatUint(u.memory, 10)
		}
		fmt.Fprintf(w, "%-15s %s\n", "Memory use:", value)
	}
}
