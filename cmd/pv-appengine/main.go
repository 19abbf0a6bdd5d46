// Command pv-appengine runs a folder of pvrexports as Pantavisor's appengine
// does: without a device, Docker or LXC.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/appengine"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

func main() {
	sandbox.Child() // does not return in a process that becomes a container

	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		// As the real program reads them: INT powers off, TERM is a restart,
		// and its wrapper leaves on either.
		first := <-signals
		if first == syscall.SIGINT {
			cancel(appengine.ErrPowerOff)
		}
		cancel(nil)
		// A second one ends us, and the kernel what we started. One right behind
		// the first is the same: timeout(1) sends to us and to our group.
		time.Sleep(time.Second / 2)
		signal.Stop(signals)
	}()
	// A reader of our output that ends stops us in order too: by default that
	// would kill us, and the mounts would stay.
	out, err := program.Output(os.Stdout, func() { cancel(nil) })
	if err != nil {
		out = os.Stdout
	}
	os.Exit(run(ctx, process{
		args: os.Args[1:], in: os.Stdin, out: out, errs: os.Stderr,
		env: os.Environ(), getenv: os.Getenv, executable: os.Executable,
	}))
}
