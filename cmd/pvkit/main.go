// Command pvkit packages, checks and runs Pantavisor containers.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pvkit/pvkit/internal/cli"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

func main() {
	sandbox.Child() // does not return in a process that becomes a container

	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	// A second signal ends the process at once, whatever it is waiting for. One
	// right behind the first is the same: timeout(1) sends to us and to our group.
	context.AfterFunc(ctx, func() {
		time.Sleep(time.Second / 2)
		stop()
	})
	code := cli.Main(ctx, cli.Env{
		Args:   os.Args[1:],
		Stdin:  os.Stdin,
		Stdout: os.Stdout,
		Stderr: os.Stderr,
		Getenv: os.Getenv,
	})
	stop()
	os.Exit(code)
}
