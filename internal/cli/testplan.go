package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/runtime/testreport"
)

// planFlags are the flags that the commands for test plans share.
type planFlags struct {
	socket        string
	patience      time.Duration
	run, format   string
	junit, tap    string
	list, verbose bool
	asJSON        bool
}

func (f *planFlags) add(c *cobra.Command, numbers, patience string) {
	fl := c.Flags()
	fl.StringVar(&f.socket, "socket", "", "the server's `socket` (default: where the runtime, pv-appengine or pvkit up has it)")
	fl.StringVar(&f.run, "run", "", "only these tests: `numbers` ("+numbers+") or a regular expression for names")
	fl.BoolVar(&f.list, "list", false, "list the tests and run none")
	fl.StringVar(&f.format, "format", "text", "`text`, json, junit or tap")
	fl.BoolVar(&f.asJSON, "json", false, "the same as --format json")
	fl.StringVar(&f.junit, "junit", "", "write JUnit XML to this `file`, too")
	fl.StringVar(&f.tap, "tap", "", "write TAP 14 to this `file`, too")
	fl.DurationVar(&f.patience, "patience", 20*time.Second, patience)
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(planFormats, cobra.ShellCompDirectiveNoFileComp))
}

var planFormats = []string{"text", "json", "junit", "tap"}

// check looks at the flags and fills in what follows from the others.
func (f *planFlags) check(c *cobra.Command, env Env) error {
	if f.asJSON {
		if c.Flags().Changed("format") && f.format != "json" {
			return usagef("%s: --json and --format %s exclude each other", name(c), f.format)
		}
		f.format = "json"
	}
	if !slices.Contains(planFormats, f.format) {
		return usagef("%s: --format %s: want text, json, junit or tap", name(c), f.format)
	}
	if f.patience <= 0 {
		return usagef("%s: --patience %v: want a duration above 0", name(c), f.patience)
	}
	if f.socket == "" {
		f.socket = defaultSocket(env)
	}
	return nil
}

// done prints a result as soon as it is there; nil where the report is a
// document.
func (f *planFlags) done(env Env) func(testreport.Result) {
	if f.format != "text" {
		return nil
	}
	return func(r testreport.Result) { io.WriteString(env.Stdout, r.Block(f.verbose)) }
}

// report runs a plan and writes what came of it. An interrupted run has results,
// too.
func (f *planFlags) report(ctx context.Context, env Env, run func(context.Context) (*testreport.Report, error)) error {
	report, err := run(ctx)
	if report == nil {
		return err
	}
	if err := errors.Join(err, f.write(env.Stdout, report)); err != nil {
		return err
	}
	if !report.OK() {
		return ErrFindings
	}
	return nil
}

func (f *planFlags) write(stdout io.Writer, r *testreport.Report) error {
	var err error
	switch f.format {
	case "text": // the results are there already
		_, err = io.WriteString(stdout, "\n"+r.Summary())
	case "json":
		err = r.JSON(stdout)
	case "junit":
		err = r.JUnit(stdout)
	case "tap":
		err = r.TAP(stdout)
	}
	return errors.Join(err, reportFile(f.junit, r.JUnit), reportFile(f.tap, r.TAP))
}

// reportFile writes a report to a file, if one is named.
func reportFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := atomicfile.Create(name, 0o644)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := write(f); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Commit()
}

func printTest(w io.Writer, number int, name string) error {
	_, err := fmt.Fprintf(w, "%2d  %s\n", number, name)
	return err
}
