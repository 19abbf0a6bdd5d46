package relay

import (
	"context"
	"net"
	"time"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

// dialTime is how long a consumer's connection waits for a provider whose queue
// is full.
const dialTime = 30 * time.Second

// Dial connects to the link's provider for a consumer's connection and counts
// how long that took.
//
// It works on a stack of its own: a connection then lives on with a small one.
func Dial(ctx context.Context, env xconnect.Env, l xconnect.Link, network string) (*net.UnixConn, error) {
	type result struct {
		c   *net.UnixConn
		err error
	}
	done := make(chan result, 1)
	go func() {
		start := time.Now()
		ctx, cancel := context.WithTimeout(ctx, dialTime)
		defer cancel()
		c, err := env.Provider.Dial(ctx, network, l.Socket)
		if err == nil {
			env.Stats.Connected(time.Since(start))
		}
		done <- result{c, err}
	}()
	r := <-done
	return r.c, r.err
}
