// Package wayland connects a consumer's clients to a compositor in a provider.
//
// Wayland carries buffers, keymaps and clipboards as descriptors among its
// bytes. libwayland takes descriptors from its socket as it comes to the
// request or event that has them, so a relay must deliver them in their order
// and no later than their bytes, and never two batches in one message: a
// receiver has room for one, MAX_FDS_OUT in libwayland's connection.c. Package
// relay does that. Compositors know no roles; whom a client may be is decided
// by the graph having a link at all.
package wayland

import (
	"context"
	"net"

	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

const socketMode = 0o666

// Plugin serves links of type wayland. It keeps no state of its own.
type Plugin struct {
	Loops *relay.Loops // move the bytes; must be set
}

// Type is the graph's name for these links.
func (Plugin) Type() string { return "wayland" }

// Run listens at the link's target until ctx is done. A client is connected to
// the compositor when it connects here, so one that the compositor does not
// accept sees its connection end at once.
func (p Plugin) Run(ctx context.Context, l xconnect.Link, env xconnect.Env) error {
	ln, err := env.Consumer.Listen(ctx, "unix", l.Target, socketMode)
	if err != nil {
		return err
	}
	env.Ready()
	return relay.Forward(ctx, p.Loops, env, l, ln, func(ctx context.Context) (*net.UnixConn, error) {
		return relay.Dial(ctx, env, l, "unix")
	})
}
