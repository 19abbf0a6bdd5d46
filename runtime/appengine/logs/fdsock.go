package logs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A request on pv-fd-log has two names of 50 bytes, zero bytes behind them, a
// level and an action as ints, and one descriptor with the first byte.
const (
	fdNameSize    = 50
	fdRequestSize = 2*fdNameSize + 4 + 4
	maxFDs        = 50 // of one platform
	maxAllFDs     = 256
)

type fdRequest struct {
	platform, source string
	level            Level
	subscribe        bool
}

func parseFDRequest(b []byte) (fdRequest, error) {
	if len(b) != fdRequestSize {
		return fdRequest{}, fmt.Errorf("a request on the descriptor socket has %d bytes, this one %d", fdRequestSize, len(b))
	}
	name := func(b []byte) string { n, _, _ := bytes.Cut(b, []byte{0}); return string(n) }
	level, action := int32(binary.NativeEndian.Uint32(b[100:])), int32(binary.NativeEndian.Uint32(b[104:]))
	r := fdRequest{platform: name(b[:50]), source: name(b[50:100]), level: Level(level), subscribe: action == 1}
	switch {
	case r.source == "":
		return r, errors.New("a request on the descriptor socket names no source")
	case action != 0 && action != 1:
		return r, fmt.Errorf("action %d on the descriptor socket is neither 0 nor 1", action)
	case r.subscribe && (r.level < Fatal || r.level > Trace):
		return r, fmt.Errorf("level %d on the descriptor socket is not 0 to 5", level)
	}
	return r, nil
}

// subscriptions are the descriptors that are read.
type subscriptions struct {
	s  *Server
	wg sync.WaitGroup

	mu sync.Mutex // guards what follows
	by map[string]*subscription
	n  map[string]int // by platform
}

type subscription struct {
	platform string
	cancel   context.CancelFunc
}

// ServeFD serves a pv-fd-log socket until ctx is done: programs pass
// descriptors of pipes, terminals, sockets and files, and what can be read
// there is logged. It closes the listener and every descriptor.
func (s *Server) ServeFD(ctx context.Context, l *net.UnixListener, id Identity) error {
	subs := &subscriptions{s: s, by: map[string]*subscription{}, n: map[string]int{}}
	err := s.accept(ctx, l, id, subs.serve)
	subs.mu.Lock()
	for _, sub := range subs.by {
		sub.cancel()
	}
	subs.mu.Unlock()
	subs.wg.Wait()
	return err
}

// serve takes the one request of a connection.
func (u *subscriptions) serve(ctx context.Context, c *net.UnixConn, who sender) {
	r, fd, err := receiveFD(c)
	if err != nil {
		u.s.complain(who.platform, err)
		return
	}
	if !who.host || r.platform == "" {
		r.platform = who.platform
	}
	key := cleanPlatform(r.platform) + "/" + cleanName(r.source)
	if !r.subscribe {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		u.remove(key, nil)
		return
	}
	if fd < 0 {
		u.s.complain(who.platform, errors.New("a subscription without a descriptor"))
		return
	}
	read, err := reader(fd)
	if err != nil {
		u.s.complain(who.platform, err)
		return
	}
	u.add(ctx, key, r, read)
}

// add starts to read a descriptor, in place of the one with the same name.
func (u *subscriptions) add(ctx context.Context, key string, r fdRequest, f fdReader) {
	u.remove(key, nil)
	platform := cleanPlatform(r.platform)
	// Not the connection's context: the subscription outlives it.
	ctx, cancel := context.WithCancel(ctx)
	sub := &subscription{platform: platform, cancel: cancel}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n[platform] >= maxFDs || len(u.by) >= maxAllFDs || u.by[key] != nil {
		cancel()
		_ = f.Close()
		u.s.complain(platform, fmt.Errorf("no room for another descriptor (%s)", r.source))
		return
	}
	u.by[key] = sub
	u.n[platform]++
	src := u.s.Source(platform, r.source, r.level)
	u.wg.Go(func() {
		defer u.remove(key, sub)
		f.copy(ctx, src)
		_ = src.Close()
		_ = f.Close()
	})
}

// remove ends a subscription; only says that it must be this one.
func (u *subscriptions) remove(key string, only *subscription) {
	u.mu.Lock()
	defer u.mu.Unlock()
	sub := u.by[key]
	if sub == nil || only != nil && sub != only {
		return
	}
	delete(u.by, key)
	u.n[sub.platform]--
	sub.cancel()
}

// receiveFD reads a request and the descriptor that came with it, -1 for none.
func receiveFD(c *net.UnixConn) (r fdRequest, fd int, err error) {
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	buf, oob := make([]byte, fdRequestSize), make([]byte, unix.CmsgSpace(16*4))
	fd = -1
	defer func() {
		if err != nil && fd >= 0 {
			_ = unix.Close(fd)
			fd = -1
		}
	}()
	for n := 0; n < len(buf); {
		m, noob, flags, _, err := c.ReadMsgUnix(buf[n:], oob)
		got, bad := rights(oob[:noob])
		for _, one := range got {
			if fd < 0 && bad == nil {
				fd = one
				continue
			}
			_ = unix.Close(one)
			bad = errors.New("more than one descriptor at once")
		}
		if flags&unix.MSG_CTRUNC != 0 {
			bad = errors.New("more than one descriptor at once")
		}
		if m == 0 && err == nil {
			err = io.ErrUnexpectedEOF
		}
		if err = errors.Join(err, bad); err != nil {
			return r, fd, err
		}
		n += m
	}
	r, err = parseFDRequest(buf)
	return r, fd, err
}

// rights are the descriptors among control messages.
func rights(oob []byte) ([]int, error) {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var all []int
	for i := range list {
		if list[i].Header.Level == unix.SOL_SOCKET && list[i].Header.Type == unix.SCM_RIGHTS {
			fds, err := unix.ParseUnixRights(&list[i])
			if err != nil {
				return all, err
			}
			all = append(all, fds...)
		}
	}
	return all, nil
}
