package relay

import (
	"context"
	"net"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

// Forward is Serve for a plugin that only relays: each consumer is joined to
// the connection that dial makes for it, as Both does. A connection on which
// nothing passes for env.Idle or two gives up its goroutines until something
// does; to both sides that makes no difference.
func Forward(ctx context.Context, env xconnect.Env, ln net.Listener, dial func(ctx context.Context) (*net.UnixConn, error)) error {
	conns, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	l := newLot(conns, env.Stats, env.Idle)
	defer l.close()
	defer context.AfterFunc(conns, l.close)()
	return serve(ctx, conns, cut, env, ln, func(c *net.UnixConn, done func(error)) {
		go func() {
			s, err := newSession(conns, c, dial)
			if err != nil {
				done(err)
				return
			}
			s.done = done
			l.run(s)
		}()
	})
}

func newSession(ctx context.Context, c *net.UnixConn, dial func(ctx context.Context) (*net.UnixConn, error)) (*session, error) {
	provider, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	s := new(session)
	if s.c, err = NewConn(c); err == nil {
		s.p, err = NewConn(provider)
	}
	if err != nil {
		provider.Close()
		return nil, err
	}
	return s, nil
}
