// Package unix carries links of type "unix": whatever two programs say to each
// other over a unix socket, with the descriptors and credentials they send. The
// consumer's socket is of the provider's kind: stream, packet or datagram.
package unix

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// Plugin is the unix plugin. It keeps no state of its own.
type Plugin struct {
	Loops *relay.Loops // move the bytes; must be set
}

var _ xconnect.Plugin = Plugin{}

// Type implements xconnect.Plugin.
func (Plugin) Type() string { return "unix" }

// socketMode lets every user of the consumer connect; the link is the permission.
const socketMode = 0o666

// errKind ends an attempt whose socket is of another kind than the provider's
// is now; the next attempt looks again.
var errKind = errors.New("the provider's socket is of another kind now")

// Run implements xconnect.Plugin.
func (p Plugin) Run(ctx context.Context, l xconnect.Link, env xconnect.Env) error {
	network, known := kindOf(ctx, l, env)
	if network == "unixgram" {
		return datagrams(ctx, l, env)
	}
	ln, err := env.Consumer.Listen(ctx, network, l.Target, socketMode)
	if err != nil {
		return err
	}
	runCtx, cancel := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer cancel(nil)
	if !known {
		watcher.Go(func() { watchKind(runCtx, l, env, cancel) })
	}
	env.Ready()
	dial := func(ctx context.Context) (*net.UnixConn, error) {
		c, err := relay.Dial(ctx, env, l, network)
		if errors.Is(err, syscall.EPROTOTYPE) {
			cancel(errKind)
		}
		return c, err
	}
	if network == "unix" {
		err = relay.Forward(runCtx, p.Loops, env, l, ln, dial)
	} else {
		err = relay.Serve(runCtx, env, ln, func(ctx context.Context, c *net.UnixConn) error {
			p, err := dial(ctx)
			if err != nil {
				return err
			}
			defer p.Close()
			return relay.Both(ctx, c, p, env.Stats)
		})
	}
	if cause := context.Cause(runCtx); ctx.Err() == nil && errors.Is(cause, errKind) {
		return cause
	}
	return err
}

// kindOf finds out what the provider listens with, without waking a listener
// where that can be done: a connect of the wrong kind is refused by the kernel
// with EPROTOTYPE. known is false while there is nothing to look at; a stream is
// what nearly all are, so the socket is one meanwhile.
//
// Only a packet listener meets one connection that ends at once.
func kindOf(ctx context.Context, l xconnect.Link, env xconnect.Env) (network string, known bool) {
	for _, network := range []string{"unixgram", "unixpacket"} {
		c, err := env.Provider.Dial(ctx, network, l.Socket)
		switch {
		case err == nil:
			c.Close()
			return network, true
		case !errors.Is(err, syscall.EPROTOTYPE):
			return "unix", false
		}
	}
	return "unix", true
}

// watchKind looks until the provider is there, and ends the attempt if it turns
// out not to be a stream.
func watchKind(ctx context.Context, l xconnect.Link, env xconnect.Env, cancel context.CancelCauseFunc) {
	for n := 0; ; n++ {
		t := time.NewTimer(xconnect.Backoff(n, 0))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if network, known := kindOf(ctx, l, env); known {
			if network != "unix" {
				cancel(fmt.Errorf("%w: %s", errKind, network))
			}
			return
		}
	}
}
