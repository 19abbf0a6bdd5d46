package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/runtime/testreport"
	"github.com/pvkit/pvkit/runtime/xconnecttest"
)

func testXconnectCommand(env Env) *cobra.Command {
	var f planFlags
	var o xconnecttest.Options
	c := &cobra.Command{
		Use:   "xconnect",
		Short: "Run the seven tests of the xconnect plan against a running mesh",
		Long: `Run the seven documented tests of the service mesh (meta-pantavisor's
testplan-xconnect.md) against what a runtime runs.

Links are taken from the graph of pv-ctrl, and looked at inside the consumers:
sockets of unix, dbus and rest, devices of drm, what the plan's clients log, and
how connections begin and end. A test without such a link is skipped and says
which examples it wants. Nothing is changed.

It reaches into containers by their pids, so it runs where the runtime runs, as
its user.

Exit codes: 0 no test failed, 1 one did, 2 no server answers, 64 usage.`,
		Example: `  pvkit up examples/pv-example-* &
  pvkit test xconnect
  pvkit test xconnect --run 5-7 --junit xconnect.xml
  pvkit test xconnect --socket run/pv-ctrl --format tap -v`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(c, env); err != nil {
				return err
			}
			choose, err := xconnecttest.Select(f.run)
			if err != nil {
				return usagef("%s: --run: %w", name(c), err)
			}
			if f.list {
				for _, t := range xconnecttest.Tests() {
					if choose(t) && err == nil {
						err = printTest(env.Stdout, t.Number, t.Name)
					}
				}
				return err
			}
			o.Socket, o.Run, o.Patience, o.Done = f.socket, choose, f.patience, f.done(env)
			return f.report(c.Context(), env, func(ctx context.Context) (*testreport.Report, error) {
				return xconnecttest.Run(ctx, o)
			})
		},
	}
	f.add(c, "1,5-7", "how long a link, and a client's line in its log, may take")
	fl := c.Flags()
	fl.StringVar(&o.Logs, "logs", "", "the runtime's log `directory` (default: the runtime is asked)")
	fl.IntVar(&o.Connects, "connects", 100, "how often test 7 connects")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "print what every test saw")
	_ = c.MarkFlagDirname("logs")
	return c
}
