package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxConns     = 256 // at once on one socket
	maxPerSender = 32  // of them, of one platform
	maxSources   = 64  // names that one platform may make with messages
	patience     = 100 * time.Millisecond
)

// ServeLog serves a pv-ctrl-log socket, which is a stream, until ctx is done.
// It closes the listener. A sender may send one message and close, as
// pantavisor's own tools do, or keep the connection, as syslog(3) does.
func (s *Server) ServeLog(ctx context.Context, l *net.UnixListener, id Identity) error {
	return s.accept(ctx, l, id, s.stream)
}

// accept serves the connections of a listener.
func (s *Server) accept(ctx context.Context, l *net.UnixListener, id Identity, serve func(context.Context, *net.UnixConn, sender)) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	room := newCrowd()
	for {
		c, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			// Out of descriptors: others will close theirs.
			s.complain("", err)
			sleep(ctx, patience)
			continue
		}
		who := id.peer(c)
		if !room.enter(who.platform) {
			s.complain(who.platform, errors.New("too many connections at once"))
			_ = c.Close()
			continue
		}
		wg.Go(func() {
			defer room.leave(who.platform)
			defer c.Close()
			done := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer done()
			serve(ctx, c, who)
		})
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// crowd counts who is inside.
type crowd struct {
	mu  sync.Mutex
	by  map[string]int
	all int
}

func newCrowd() *crowd { return &crowd{by: map[string]int{}} }

func (c *crowd) enter(who string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= maxConns || c.by[who] >= maxPerSender {
		return false
	}
	c.all++
	c.by[who]++
	return true
}

func (c *crowd) leave(who string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.by[who]--; c.by[who] == 0 {
		delete(c.by, who)
	}
}

// stream reads messages until the sender closes or makes no sense.
func (s *Server) stream(_ context.Context, c *net.UnixConn, who sender) {
	buf := make([]byte, 0, 4<<10)
	for {
		if len(buf) == cap(buf) {
			bigger := make([]byte, len(buf), 2*cap(buf))
			copy(bigger, buf)
			buf = bigger
		}
		var wait time.Time // none between messages
		if len(buf) > 0 {
			wait = time.Now().Add(patience)
		}
		_ = c.SetReadDeadline(wait)
		n, err := c.Read(buf[len(buf):min(cap(buf), maxMessage)])
		buf = buf[:len(buf)+n]
		late := errors.Is(err, os.ErrDeadlineExceeded)
		final := err != nil || len(buf) >= maxMessage
		rest, bad := s.messages(buf, final, who)
		if bad != nil {
			s.complain(who.platform, bad)
			return
		}
		if err != nil && !late {
			return
		}
		if buf = append(buf[:0], rest...); len(buf) == 0 && cap(buf) > 16<<10 {
			buf = make([]byte, 0, 4<<10) // one long message is no habit
		}
	}
}

// messages takes every complete message and returns what is left.
func (s *Server) messages(b []byte, final bool, who sender) ([]byte, error) {
	for {
		msg, n, err := cut(b, final)
		if err != nil || n == 0 {
			return b, err
		}
		s.take(msg, who)
		b = b[n:]
	}
}

// take logs one message as its sender.
func (s *Server) take(b []byte, who sender) {
	m, err := decode(b)
	if err != nil {
		s.complain(who.platform, err)
		return
	}
	platform := who.platform
	if who.host && m.platform != "" {
		platform = m.platform
	}
	src := s.shared(platform, m.source)
	if m.raw && src.platform != Pantavisor {
		src.message(m.level, m.text)
		return
	}
	src.Log(m.level, string(m.text))
}

// message logs the bytes as they are.
func (src *Source) message(level Level, text []byte) {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.write(level, text)
	src.endPart()
}

// shared finds or makes the source of a name that came in a message. A
// platform that makes too many of them writes the rest into "other": each is a
// file.
func (s *Server) shared(platform, name string) *Source {
	fresh := s.Source(platform, name, Info)
	key := fresh.platform + "/" + fresh.name
	s.mu.Lock()
	defer s.mu.Unlock()
	if src, ok := s.sources[key]; ok {
		return src
	}
	if s.perPlat[fresh.platform] >= maxSources {
		key = fresh.platform + "/other"
		if src, ok := s.sources[key]; ok {
			return src
		}
		fresh.name = "other"
	}
	s.perPlat[fresh.platform]++
	s.sources[key] = fresh
	return fresh
}

// ServeDatagrams serves a datagram socket, as /dev/log usually is, until ctx is
// done. It closes the socket; its file is the caller's, as its address may be a
// short name for it.
func (s *Server) ServeDatagrams(ctx context.Context, c *net.UnixConn, id Identity) error {
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if err := passCredentials(c); err != nil {
		return err
	}
	buf, oob := make([]byte, maxMessage), make([]byte, 1<<10)
	for {
		n, noob, _, _, err := c.ReadMsgUnix(buf, oob)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF):
			return err
		case err != nil:
			s.complain("", err)
			sleep(ctx, patience)
			continue
		}
		who := id.datagram(oob[:noob])
		if n > 0 {
			s.take(buf[:n], who)
		}
	}
}

// complaints counts what was sent in vain, so that a sender cannot fill the
// log with notes about itself.
type complaints struct {
	mu   sync.Mutex
	last map[string]time.Time
	more map[string]int
}

// complain notes, at most once a second for a platform, why a message was
// dropped.
func (s *Server) complain(platform string, why error) {
	s.bad.mu.Lock()
	defer s.bad.mu.Unlock()
	now := s.opts.Clock()
	if at, ok := s.bad.last[platform]; ok && now.Sub(at) < time.Second {
		s.bad.more[platform]++
		return
	}
	if len(s.bad.last) > 1000 {
		clear(s.bad.last)
		clear(s.bad.more)
	}
	n := s.bad.more[platform] + 1
	s.bad.last[platform], s.bad.more[platform] = now, 0
	s.own.Logf(Warn, "log messages of %q dropped (%d): %v", platform, n, why)
}

// Listen makes a stream socket at a path, in place of one that an earlier run
// left, with a mode that lets every user of a container write to it. The file
// stays when the listener is closed.
func Listen(file string) (*net.UnixListener, error) {
	if err := removeSocket(file); err != nil {
		return nil, err
	}
	dir, short, err := shorten(file)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", file, err)
	}
	l.SetUnlinkOnClose(false) // the short name is another file's by then
	if err := os.Chmod(file, 0o666); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// ListenDatagrams is Listen for a datagram socket. The file stays.
func ListenDatagrams(file string) (*net.UnixConn, error) {
	if err := removeSocket(file); err != nil {
		return nil, err
	}
	dir, short, err := shorten(file)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: short, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", file, err)
	}
	// Before anybody can send: what comes earlier has no credentials.
	if err := errors.Join(passCredentials(c), os.Chmod(file, 0o666)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// shorten gives a name of a file that goes through its directory's descriptor:
// an address has room for 108 bytes. The name holds until the descriptor is
// closed.
func shorten(file string) (dir *os.File, short string, err error) {
	dir, err = os.Open(filepath.Dir(file))
	if err != nil {
		return nil, "", err
	}
	return dir, fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(file)), nil
}

// removeSocket removes a socket, and only a socket.
func removeSocket(file string) error {
	var st unix.Stat_t
	if unix.Lstat(file, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		return os.Remove(file)
	}
	return nil // if something else is there, the listen says so
}
