package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/runtime/pvctrltest"
)

func testCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "test",
		Short: "Run the documented test plans against a runtime",
		Long:  "Run the documented test plans against a runtime, ours or upstream's.",
	}
	c.AddCommand(testPvctrlCommand(env))
	return c
}

// pvctrlTest is the command's flags.
type pvctrlTest struct {
	o             pvctrltest.Options
	run, format   string
	junit, tap    string
	list, verbose bool
	asJSON        bool
}

func testPvctrlCommand(env Env) *cobra.Command {
	var t pvctrlTest
	c := &cobra.Command{
		Use:   "pvctrl",
		Short: "Run the 31 tests of the pv-ctrl plan against a socket",
		Long: `Run the 31 documented tests of the pv-ctrl API (meta-pantavisor's
testplan-pvctrl.md) against the server behind a socket.

A test ends as PASS, FAIL, EXPECTED (the plan says something else, and the
server's code is known to be right) or SKIP. Every test keeps the requests that
it sent and their answers; those of a failed one are printed, with -v all.

The tests put metadata, objects and revisions, stop and start pv-xconnect and a
container, collect garbage (27: also what else no revision needs), and clean up
after themselves. Test 26 powers the runtime off and runs only with
--allow-poweroff, last.

Exit codes: 0 no test failed, 1 one did, 2 no server answers, 64 usage.`,
		Example: `  pvkit test pvctrl --socket run/pv-ctrl
  pvkit test pvctrl --run 1-16 --junit pvctrl.xml
  pvkit test pvctrl --run 'objects|steps' --format tap
  pvkit test pvctrl --list`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if t.asJSON {
				if c.Flags().Changed("format") && t.format != "json" {
					return usagef("pvctrl: --json and --format %s exclude each other", t.format)
				}
				t.format = "json"
			}
			return t.main(c, env)
		},
	}
	f := c.Flags()
	f.StringVar(&t.o.Socket, "socket", "", "the server's `socket` (default: where the runtime, pv-appengine or pvkit up has it)")
	f.StringVar(&t.run, "run", "", "only these tests: `numbers` (1-16,27) or a regular expression for names")
	f.BoolVar(&t.list, "list", false, "list the tests and run none")
	f.StringVar(&t.format, "format", "text", "`text`, json, junit or tap")
	f.BoolVar(&t.asJSON, "json", false, "the same as --format json")
	f.StringVar(&t.junit, "junit", "", "write JUnit XML to this `file`, too")
	f.StringVar(&t.tap, "tap", "", "write TAP 14 to this `file`, too")
	f.BoolVar(&t.o.AllowPoweroff, "allow-poweroff", false, "run test 26, too, which ends the runtime")
	f.StringVar(&t.o.Provider, "provider", "pv-example-unix-server", "the container that provides a unix service")
	f.StringVar(&t.o.Consumer, "consumer", "pv-example-unix-client", "the container that consumes it")
	f.DurationVar(&t.o.Patience, "patience", 20*time.Second, "how long a change may take that the server promised")
	f.BoolVarP(&t.verbose, "verbose", "v", false, "print the requests and answers of every test")
	return c
}

func (t *pvctrlTest) main(c *cobra.Command, env Env) error {
	if !slices.Contains([]string{"text", "json", "junit", "tap"}, t.format) {
		return usagef("pvctrl: --format %s: want text, json, junit or tap", t.format)
	}
	if t.o.Patience <= 0 {
		return usagef("pvctrl: --patience %v: want a duration above 0", t.o.Patience)
	}
	choose, err := pvctrltest.Select(t.run)
	if err != nil {
		return usagef("pvctrl: --run: %w", err)
	}
	t.o.Run = choose
	if t.o.Socket == "" {
		t.o.Socket = defaultSocket(env)
	}
	if t.list {
		return t.printList(env.Stdout)
	}
	if t.format == "text" {
		t.o.Done = func(r pvctrltest.Result) { io.WriteString(env.Stdout, r.Block(t.verbose)) }
	}
	report, err := pvctrltest.Run(c.Context(), t.o)
	if report == nil {
		return err
	}
	// An interrupted run has results, too.
	if err := errors.Join(err, t.write(env.Stdout, report)); err != nil {
		return err
	}
	if !report.OK() {
		return ErrFindings
	}
	return nil
}

func (t *pvctrlTest) printList(w io.Writer) error {
	for _, test := range pvctrltest.Tests() {
		if t.o.Run(test) {
			if _, err := fmt.Fprintf(w, "%2d  %s\n", test.Number, test.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *pvctrlTest) write(stdout io.Writer, r *pvctrltest.Report) error {
	var err error
	switch t.format {
	case "text": // the results are there already
		_, err = io.WriteString(stdout, "\n"+r.Summary())
	case "json":
		err = r.JSON(stdout)
	case "junit":
		err = r.JUnit(stdout)
	case "tap":
		err = r.TAP(stdout)
	}
	return errors.Join(err, reportFile(t.junit, r.JUnit), reportFile(t.tap, r.TAP))
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
