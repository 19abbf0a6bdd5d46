// Command pv-appengine runs a folder of pvrexports as Pantavisor's appengine
// does: without a device, Docker or LXC.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/pvkit/pvkit/runtime/appengine"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

func main() {
	sandbox.Child() // does not return in a process that becomes a container

	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		// As the real program reads them: INT powers off, TERM is a restart,
		// and its wrapper leaves on either.
		first := <-signals
		signal.Stop(signals) // a second one ends us, and the kernel what we started
		if first == syscall.SIGINT {
			cancel(appengine.ErrPowerOff)
		}
		cancel(nil)
	}()
	// A terminal that is closed, and a reader of our output that ends, stop us
	// in order too: by default they would kill us, and the mounts would stay.
	gone := []os.Signal{syscall.SIGPIPE}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		gone = append(gone, syscall.SIGHUP)
	}
	stopped, stop := signal.NotifyContext(ctx, gone...)
	defer stop()
	os.Exit(run(stopped, process{
		args: os.Args[1:], in: os.Stdin, out: os.Stdout, errs: os.Stderr,
		env: os.Environ(), getenv: os.Getenv, executable: os.Executable,
	}))
}
