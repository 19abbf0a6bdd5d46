package ctrl

import (
	"bufio"
	"io"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// What the fuzz targets reach without a socket.

// Parsed is what a request's bytes are read as.
type Parsed struct {
	Method, Target string
	Local, Keep    bool
	Size           int64
	Routes         int
	Body           []byte
}

// ParseRequest reads a request as a connection does, and its body of at most a
// megabyte.
func ParseRequest(r io.Reader) (p Parsed, err error) {
	br := bufio.NewReader(&limited{r, maxHead})
	h, err := readHead(br)
	if err != nil {
		return p, err
	}
	p.Method, p.Target, p.Local, p.Keep = h.method, h.target, h.local(), h.keepAlive()
	if p.Size, err = h.framing(); err != nil {
		return p, err
	}
	if _, err = h.expects(); err != nil {
		return p, err
	}
	routes, names := newRouter(Routes()).find(h.target)
	p.Routes = len(routes)
	for _, n := range names {
		if n == "" || len(n) > maxSegment {
			panic("a name of " + n)
		}
	}
	preferredWait(h.fields["Prefer"])
	matches(h.fields["If-None-Match"], `"x"`)
	p.Body, err = newBody(br, p.Size, func() {}).all(1 << 20)
	return p, err
}

// limited is a reader with the limit of a head.
type limited struct {
	r io.Reader
	n int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.n <= 0 {
		return 0, errHeadSize
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.n)])
	l.n -= int64(n)
	return n, err
}

// The decoders of small bodies, and two writers.
func DecodeAction(b []byte) (Action, error)          { return decodeAction(b) }
func DecodeSignal(b []byte) (pvctrl.Signal, error)   { return decodeSignal(b) }
func DecodeCommand(b []byte) (pvctrl.Command, error) { return decodeCommand(b) }
func EncodeMeta(all []pvctrl.MetaEntry) []byte       { return encodeMeta(all) }
func Quote(s string) []byte                          { return quote(nil, s) }
