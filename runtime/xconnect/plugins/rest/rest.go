package rest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// Plugin is the rest plugin.
type Plugin struct {
	Loops    *relay.Loops  // move the bytes; must be set
	HeadTime time.Duration // what a request's head may take from its first byte to its last; 0: a minute
}

var _ xconnect.Plugin = Plugin{}

// Type implements xconnect.Plugin.
func (Plugin) Type() string { return "rest" }

const socketMode = 0o666 // the link is the permission

// Run implements xconnect.Plugin.
func (p Plugin) Run(ctx context.Context, l xconnect.Link, env xconnect.Env) error {
	id := identity{l.Consumer.Name, l.Role}
	if err := id.usable(); err != nil {
		return errors.Join(xconnect.ErrPermanent, err)
	}
	ln, err := env.Consumer.Listen(ctx, "unix", l.Target, socketMode)
	if err != nil {
		return err
	}
	env.Ready()
	served := &served{env: env, id: id, headTime: cmp.Or(p.HeadTime, time.Minute)}
	return relay.ServeGroup(ctx, p.Loops, env, l, ln, func(_ context.Context, g *relay.Group, c *net.UnixConn, done func(error)) {
		g.Tap(c, newSession(served), done)
	})
}

// served is what all connections of a link share.
type served struct {
	env      xconnect.Env
	id       identity
	headTime time.Duration
}

// Fail implements relay.Tap: a request that is refused before anything was
// passed on gets an answer, in the provider's place.
func (s *session) Fail(c *net.UnixConn, err error) error {
	if errors.Is(err, errCut) {
		return nil // a consumer that goes away is no error of the link
	}
	r, refused := errors.AsType[*refusal](err)
	switch {
	case refused && c == nil:
		s.env.Stats.Refused()
		s.env.Log.Info("Connection cut", "reason", r)
		return nil
	case refused:
		s.refuse(c, r)
		return nil
	case c != nil:
		s.refuse(c, &refusal{502, "the provider does not answer"})
	}
	return err
}

func (s *session) refuse(c *net.UnixConn, r *refusal) {
	s.env.Stats.Refused()
	s.env.Log.Info("Request refused", "reason", r)
	c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n",
		r.status, http.StatusText(r.status), len(r.why)+1, r.why)
	// Closing with unread input would reset the connection and with it the
	// answer: take what is there, for a moment.
	c.CloseWrite()
	c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	io.Copy(io.Discard, io.LimitReader(c, 1<<20))
}
