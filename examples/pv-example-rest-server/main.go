// Pv-rest-server is a mock of a network manager: the provider of the service
// network-manager. Its argument is the path of the socket.
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
	s := info.Server{Socket: info.ServerSocket, Now: time.Now}
	if len(io.Args) > 0 {
		s.Socket = io.Args[0]
	}
	return s.Serve(ctx, io.Stdout, io.Stderr)
}
