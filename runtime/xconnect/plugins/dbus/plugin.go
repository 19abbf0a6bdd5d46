// Package dbus connects a consumer to a D-Bus message bus in a provider.
//
// The consumer's clients speak to this side of the link only: it plays the
// server of the handshake (sasl.go), and it introduces itself to the bus as
// the link's role (identity.go), with that user's kernel credential. What a
// client says about itself reaches nobody.
//
// If the requirement names an interface, it is a well-known bus name, and the
// connection can reach nothing else: every message is judged by its header
// (header.go, filter.go). Without one, messages pass as they are, and the
// bus's own policy for the role decides. Both sides' descriptors travel with
// their messages (stream.go).
//
// The protocol is that of the D-Bus Specification,
// https://dbus.freedesktop.org/doc/dbus-specification.html.
package dbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// A bus socket is for everyone; the role and the bus's policy decide.
const socketMode = 0o666

const (
	passwdFile  = "/etc/passwd"
	passwdLimit = 1 << 20
)

// handshakeTime is libdbus's own limit, auth_timeout of dbus-daemon(1).
const handshakeTime = 30 * time.Second

// Plugin serves links of type dbus.
type Plugin struct {
	// Loops move the connections of which nothing is filtered. They must be set.
	Loops *relay.Loops

	// HandshakeTime is how long a client may take to introduce itself; 0 means
	// 30 seconds.
	HandshakeTime time.Duration
}

// Type is the graph's name for these links.
func (Plugin) Type() string { return "dbus" }

// Run listens at the link's target until ctx is done.
func (p Plugin) Run(ctx context.Context, l xconnect.Link, env xconnect.Env) error {
	name, err := restriction(l)
	if err != nil {
		return err
	}
	ln, err := env.Consumer.Listen(ctx, "unix", l.Target, socketMode)
	if err != nil {
		return err
	}
	env.Ready()
	return relay.ServeGroup(ctx, p.Loops, env, l, ln, func(ctx context.Context, g *relay.Group, c *net.UnixConn, done func(error)) {
		s := &session{
			client:   newStream(c, env.Stats.HoldFiles),
			toClient: &sink{conn: c, sent: env.Stats.ToConsumer},
			countBus: env.Stats.ToProvider,
			limit:    time.Now().Add(cmp.Or(p.HandshakeTime, handshakeTime)),
			group:    g,
		}
		if name != "" {
			s.filter = newFilter(name)
		}
		go serve(ctx, l, env, s, done)
	})
}

// restriction is the bus name that the link is for, or "". An interface that is
// a path is where the socket goes; anything else that is no bus name is
// refused, because without a filter it would open the whole bus.
func restriction(l xconnect.Link) (string, error) {
	switch {
	case !l.Restricted(), strings.HasPrefix(l.Interface, "/"):
		return "", nil
	case !validBusName(l.Interface), strings.HasPrefix(l.Interface, ":"), l.Interface == driver:
		return "", fmt.Errorf("%w: interface %.80q is not a well-known bus name", xconnect.ErrPermanent, l.Interface)
	}
	return l.Interface, nil
}

// serve serves one client.
func serve(ctx context.Context, l xconnect.Link, env xconnect.Env, s *session, done func(error)) {
	accepted := time.Now()
	ctx, over := context.WithCancel(ctx)
	s.end = func(err error) { over(); done(err) }
	endWithLink := func(c *net.UnixConn) {
		context.AfterFunc(ctx, func() { shut(c) }) // it may be closed by now
	}
	endWithLink(s.client.conn)
	s.dial = func() (*net.UnixConn, uint32, error) {
		inside := linkCred(ctx, l, env)
		cred, err := outside(inside, l.Provider.PID)
		if err != nil {
			return nil, 0, err
		}
		// DialAs fails if the provider has ended, so the pid was still its own.
		conn, err := env.Provider.DialAs(ctx, "unix", l.Socket, cred)
		if err != nil {
			return nil, 0, err
		}
		endWithLink(conn)
		env.Stats.Connected(time.Since(accepted))
		return conn, inside.UID, nil
	}
	s.start()
}

// linkCred is the identity of the link's role now: the provider may have
// changed its users since the last connection.
func linkCred(ctx context.Context, l xconnect.Link, env xconnect.Env) xconnect.Cred {
	if l.HasUID {
		return xconnect.Cred{UID: l.UID, GID: nobody}
	}
	passwd, err := env.Provider.ReadFile(ctx, passwdFile, passwdLimit)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		env.Log.Warn("The role's user cannot be looked up", "role", l.Role, "err", err)
	}
	return roleCred(l.Role, passwd)
}
