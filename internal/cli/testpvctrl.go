package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/runtime/pvctrltest"
	"github.com/pvkit/pvkit/runtime/testreport"
)

func testCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "test",
		Short: "Run the documented test plans against a runtime",
		Long:  "Run the documented test plans against a runtime, ours or upstream's.",
	}
	c.AddCommand(testPvctrlCommand(env), testXconnectCommand(env))
	return c
}

func testPvctrlCommand(env Env) *cobra.Command {
	var f planFlags
	var o pvctrltest.Options
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
			if err := f.check(c, env); err != nil {
				return err
			}
			choose, err := pvctrltest.Select(f.run)
			if err != nil {
				return usagef("%s: --run: %w", name(c), err)
			}
			if f.list {
				for _, t := range pvctrltest.Tests() {
					if choose(t) && err == nil {
						err = printTest(env.Stdout, t.Number, t.Name)
					}
				}
				return err
			}
			o.Socket, o.Run, o.Patience, o.Done = f.socket, choose, f.patience, f.done(env)
			return f.report(c.Context(), env, func(ctx context.Context) (*testreport.Report, error) {
				return pvctrltest.Run(ctx, o)
			})
		},
	}
	f.add(c, "1-16,27", "how long a change may take that the server promised")
	fl := c.Flags()
	fl.BoolVar(&o.AllowPoweroff, "allow-poweroff", false, "run test 26, too, which ends the runtime")
	fl.StringVar(&o.Provider, "provider", "pv-example-unix-server", "the container that provides a unix service")
	fl.StringVar(&o.Consumer, "consumer", "pv-example-unix-client", "the container that consumes it")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "print the requests and answers of every test")
	return c
}
