// Pv-unix-server offers a raw Unix socket that echoes what it gets: the
// provider of the service raw-unix.
package main

import (
	"context"
	"os"

	"github.com/pvkit/pvkit/examples/internal/echo"
	"github.com/pvkit/pvkit/examples/internal/program"
)

func main() { os.Exit(program.Main(run)) }

func run(ctx context.Context, io program.IO) error {
	return echo.Serve(ctx, io.Stdout, echo.ServerSocket)
}
