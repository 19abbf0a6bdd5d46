package ctrl

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// GraphTag is the entity tag of a graph: of its bytes, so it is the same for
// the same graph whatever happened in between, also after a restart.
func GraphTag(links []pvctrl.Link) string { return tagOf(pvctrl.EncodeGraph(links)) }

func tagOf(text []byte) string {
	sum := sha256.Sum256(text)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

// goneCheck is how often a held request looks whether its client is still there.
const goneCheck = time.Second

// getGraph answers at once, or, if the client has the current graph and prefers
// to wait (RFC 7240 §4.3), when there is another one or the time is over.
func getGraph(s *Server, r *request) (*reply, error) {
	known := r.head.fields["If-None-Match"]
	wait, prefers := preferredWait(r.head.fields["Prefer"])
	wait = min(wait, s.o.MaxWait)
	if r.head.old {
		known, prefers = nil, false // 1.0 replies have no tag to come back with
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	gone := time.NewTicker(goneCheck)
	defer gone.Stop()
	for waiting := prefers && len(known) > 0; ; {
		changed := s.o.Backend.Graph.GraphChanged() // before the look, or a change in between is lost
		links, err := s.o.Backend.Graph.Links(r.ctx)
		if err != nil {
			return nil, err
		}
		text := pvctrl.EncodeGraph(links)
		tag := tagOf(text)
		modern := []field{{"ETag", tag}}
		if prefers {
			modern = append(modern, field{"Preference-Applied", "wait"})
		}
		if !matches(known, tag) {
			rep := document(text)
			rep.modern = modern
			return rep, nil
		}
		for same := true; waiting && same; {
			select {
			case <-changed:
				same = false
			case <-gone.C:
				waiting = !r.conn.gone()
			case <-timer.C:
				waiting = false
			case <-r.ctx.Done():
				waiting = false
			}
		}
		if !waiting {
			return &reply{status: http.StatusNotModified, modern: modern}, nil
		}
	}
}

// preferredWait reads "Prefer: wait=10"; the first one counts (RFC 7240 §2).
func preferredWait(fields []string) (time.Duration, bool) {
	for _, v := range fields {
		for p := range strings.SplitSeq(v, ",") {
			p, _, _ = strings.Cut(p, ";")
			key, value, _ := strings.Cut(p, "=")
			if !strings.EqualFold(strings.TrimSpace(key), "wait") {
				continue
			}
			n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			return time.Duration(n) * time.Second, err == nil && n > 0
		}
	}
	return 0, false
}

// matches is If-None-Match's comparison, the weak one (RFC 9110 §13.1.2).
func matches(fields []string, tag string) bool {
	for _, v := range fields {
		for t := range strings.SplitSeq(v, ",") {
			if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// gone tells whether the client has closed its connection, both ways: one that
// closed its sending side still waits for the reply.
func (c *conn) gone() bool {
	raw, err := c.nc.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP is always told
		n, err := unix.Poll(fds, 0)
		gone = err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
	return err != nil || gone
}
