// Pv-unix-client greets the service raw-unix every five seconds and prints the
// answer.
package main

import (
	"context"
	"os"
	"time"

	"github.com/pvkit/pvkit/examples/internal/echo"
	"github.com/pvkit/pvkit/examples/internal/program"
)

func main() { os.Exit(program.Main(run)) }

func run(ctx context.Context, io program.IO) error {
	c := echo.Client{Socket: echo.ClientSocket, Interval: 5 * time.Second, Timeout: 4 * time.Second, Now: time.Now}
	return c.Run(ctx, io.Stdout, io.Stderr)
}
