// Package program is what the example programs have in common: they end
// promptly and cleanly when their container is stopped.
package program

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// IO is what a program has of the outside.
type IO struct {
	Args           []string // without the program's name
	Stdout, Stderr io.Writer
}

// Main runs a program until it returns or the container is asked to stop: LXC
// sends SIGPWR to the first process of a container, people and pantavisor send
// SIGTERM or SIGINT. A first process that does not handle a signal never gets
// it (pid_namespaces(7)), so each must be asked for. It returns the exit code.
func Main(run func(context.Context, IO) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGPWR)
	defer stop()
	if err := run(ctx, IO{os.Args[1:], os.Stdout, os.Stderr}); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		return 1
	}
	return 0
}
