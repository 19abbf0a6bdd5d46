package unix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// maxDatagram is more than a sender's buffer holds by default.
const maxDatagram = 1 << 20

// datagrams passes messages on to the provider, as syslog and sd_notify use
// them. A datagram has no way back: its sender's address is a path in another
// tree, or none. While the provider does not read, neither do we, and the
// senders' own buffers stop them.
func datagrams(ctx context.Context, l xconnect.Link, env xconnect.Env) error {
	in, remove, err := env.Consumer.ListenPacket(ctx, l.Target, socketMode)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := env.Provider.Dial(ctx, "unixgram", l.Socket)
	if err != nil {
		return errors.Join(err, remove())
	}
	defer out.Close()
	stop := context.AfterFunc(ctx, func() {
		in.SetDeadline(time.Unix(1, 0))
		out.SetDeadline(time.Unix(1, 0))
	})
	defer stop()
	err = pass(ctx, in, out, env)
	return errors.Join(err, remove())
}

func pass(ctx context.Context, in, out *net.UnixConn, env xconnect.Env) error {
	from, err := relay.NewConn(in)
	if err != nil {
		return err
	}
	to, err := relay.NewConn(out)
	if err != nil {
		return err
	}
	// The provider may end while nobody sends: a connected datagram socket
	// notices (unix(7)), and the next send says so.
	env.Ready()
	var once sync.Once
	buf := make([]byte, maxDatagram)
	for {
		n, a, err := from.Receive(buf)
		if ctx.Err() != nil {
			a.CloseFiles()
			return nil
		}
		switch {
		case err == nil:
		case errors.Is(err, relay.ErrLostFiles), errors.Is(err, relay.ErrTruncated), errors.Is(err, io.EOF):
			once.Do(func() { env.Log.Warn("Datagram dropped", "err", err) })
			env.Stats.Fail(err)
			continue
		default:
			return fmt.Errorf("receive a datagram: %w", err)
		}
		if err := to.Send(buf[:n], a); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("pass a datagram on: %w", err)
		}
		env.Stats.ToProvider(n)
	}
}
