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

// Plugin is the rest plugin. The zero value is ready.
type Plugin struct {
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
	return relay.Serve(ctx, env, ln, func(ctx context.Context, c *net.UnixConn) error {
		s := session{link: l, env: env, id: id, headTime: cmp.Or(p.HeadTime, time.Minute)}
		return s.serve(ctx, c)
	})
}

// session is a consumer's connection. The provider is dialed for its first good
// request.
type session struct {
	link xconnect.Link
	env  xconnect.Env
	id   identity

	headTime time.Duration

	in       *reader
	provider *net.UnixConn
	out      []byte
	verdict  chan bool // whether the provider changed the protocol; nil if not asked
}

func (s *session) serve(ctx context.Context, consumer *net.UnixConn) error {
	in, err := newReader(ctx, consumer, s.headTime)
	if err != nil {
		return err
	}
	s.in = in
	stop := context.AfterFunc(ctx, func() { consumer.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	f, err := s.request(true)
	if err != nil {
		return s.refuse(consumer, err)
	}
	if s.provider, err = relay.Dial(ctx, s.env, s.link, "unix"); err != nil {
		s.refuse(consumer, &refusal{502, "the provider does not answer"})
		return err
	}
	defer s.provider.Close()
	return s.relay(ctx, consumer, f)
}

func (s *session) relay(ctx context.Context, consumer *net.UnixConn, f framing) error {
	c, err := relay.NewConn(consumer)
	if err != nil {
		return err
	}
	p, err := relay.NewConn(s.provider)
	if err != nil {
		return err
	}
	var down func() error
	if f.upgrade {
		s.verdict = make(chan bool, 1)
		down = func() error { return s.watchUpgrade(p, c) }
	}
	err = relay.JoinFunc(ctx, c, p, s.env.Stats, func() error { return s.up(f, c, p) }, down)
	if r, ok := errors.AsType[*refusal](err); ok {
		s.env.Stats.Refused()
		s.env.Log.Info("Connection cut", "reason", r)
		return nil
	}
	if errors.Is(err, errCut) {
		return nil // a consumer that goes away is no error of the link
	}
	return err
}

// request reads the next request and writes its new head to out.
func (s *session) request(first bool) (framing, error) {
	head, err := s.in.head()
	if err != nil {
		return framing{}, err
	}
	out, f, err := rewrite(s.out[:0], head, s.id, first)
	if err != nil {
		return framing{}, err
	}
	s.out = out
	s.in.discard(len(head))
	return f, nil
}

// up moves requests. The first one's head is in out already.
func (s *session) up(f framing, c, p *relay.Conn) error {
	w := counted{s.provider, s.env.Stats}
	for {
		if err := s.forward(f, w); err != nil {
			return err
		}
		if f.upgrade {
			if changed := <-s.verdict; changed {
				return s.opaque(c, p, w)
			}
		}
		if cap(s.out) > 4<<10 || len(s.in.buffered()) == 0 {
			s.out = nil // nothing is held while the next request is waited for
		}
		s.in.release()
		var err error
		if f, err = s.request(false); err != nil {
			return err
		}
	}
}

// forward writes a head, with the start of its body if that is short, then the
// rest of the body.
func (s *session) forward(f framing, w io.Writer) error {
	if n := len(s.in.buffered()); !f.chunked && f.length > 0 && int64(n) >= f.length && n <= 4<<10 {
		s.out = append(s.out, s.in.buffered()[:f.length]...)
		s.in.discard(int(f.length))
		f.length = 0
	}
	if _, err := w.Write(s.out); err != nil {
		return err
	}
	return f.body(s.in, w)
}

// opaque moves what is no longer HTTP.
func (s *session) opaque(c, p *relay.Conn, w io.Writer) error {
	if b := s.in.buffered(); len(b) > 0 {
		if _, err := w.Write(b); err != nil {
			return err
		}
		s.in.discard(len(b))
	}
	s.in.release()
	return relay.Copy(c, p, s.env.Stats.ToProvider, s.env.Stats.HoldFiles)
}

// watchUpgrade passes responses on and tells up what the provider made of the
// Upgrade: the first final response decides (RFC 9110 §15.2.2).
func (s *session) watchUpgrade(p, c *relay.Conn) error {
	said := false
	defer func() {
		if !said {
			s.verdict <- false
		}
	}()
	var head []byte
	buf := make([]byte, 4<<10)
	for {
		n := headEnd(head)
		if n == 0 {
			if len(head) > maxHead {
				return errors.New("the provider's head is larger than 64 KiB")
			}
			k, a, err := p.Receive(buf)
			a.CloseFiles()
			if err != nil {
				return err
			}
			head = append(head, buf[:k]...)
			continue
		}
		status := statusOf(head)
		if status < 100 || status >= 200 || status == 101 {
			// up goes on only after what the provider said is on its way.
			s.env.Stats.ToConsumer(len(head))
			if err := c.Send(head, relay.Ancillary{}); err != nil {
				return err
			}
			said = true
			s.verdict <- status == 101
			return relay.Copy(p, c, s.env.Stats.ToConsumer, s.env.Stats.HoldFiles)
		}
		if err := c.Send(head[:n], relay.Ancillary{}); err != nil {
			return err
		}
		head = append([]byte(nil), head[n:]...)
	}
}

// statusOf reads "HTTP/1.1 101 ..."; 0 if it is not that.
func statusOf(head []byte) int {
	if len(head) < 12 || string(head[:5]) != "HTTP/" || head[8] != ' ' {
		return 0
	}
	n := 0
	for _, c := range head[9:12] {
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// refuse answers in the provider's place, when nothing has been passed on yet.
func (s *session) refuse(c *net.UnixConn, err error) error {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		if errors.Is(err, io.EOF) || isTimeout(err) {
			return nil // a consumer that asked nothing
		}
		return err
	}
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
	return nil
}

// counted counts what is written to the provider.
type counted struct {
	w     io.Writer
	stats *xconnect.Stats
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.stats.ToProvider(n)
	return n, err
}
