// Command pv-xconnect is the service mesh daemon: it asks pv-ctrl who is linked
// to whom and makes the links between running containers.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

func main() {
	debug.SetGCPercent(40)                                           // little is alive, and much of that for long: memory is dearer than collecting
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + relay.DefaultLoops()) // see relay.NewLoops
	signal.Ignore(syscall.SIGPIPE)                                   // a log reader that goes away must not end us
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	refetch := make(chan struct{})
	go func() {
		for range hup {
			refetch <- struct{}{}
		}
	}()
	code := run(ctx, process{
		args: os.Args[1:], out: os.Stdout, errs: os.Stderr,
		notify: os.Getenv("NOTIFY_SOCKET"), refetch: refetch,
	})
	stop()
	os.Exit(code)
}
