// Pv-rest-client asks the service network-manager for /info every five seconds
// and prints the answer.
package main

import (
	"context"
	"os"
	"time"

	"github.com/pvkit/pvkit/examples/internal/info"
	"github.com/pvkit/pvkit/examples/internal/program"
)

func main() { os.Exit(program.Main(run)) }

func run(ctx context.Context, io program.IO) error {
	c := info.Client{Socket: info.ClientSocket, Interval: 5 * time.Second, Timeout: 4 * time.Second}
	return c.Run(ctx, io.Stdout, io.Stderr)
}
