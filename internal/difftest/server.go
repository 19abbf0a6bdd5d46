package difftest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"
)

// server answers connections with scripted bytes and keeps what was asked.
type server struct {
	path    string
	l       net.Listener
	replies []string
	done    chan struct{}

	mu       sync.Mutex // guards requests
	requests []string
}

func serve(t *testing.T, replies []string) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "dt") // short: nc's sun_path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{path: filepath.Join(dir, "ctrl"), replies: replies, requests: []string{}, done: make(chan struct{})}
	if s.l, err = net.Listen("unix", s.path); err != nil {
		t.Fatal(err)
	}
	go s.run()
	return s
}

// stop ends the server and gives the requests in their order.
func (s *server) stop() []string {
	s.l.Close()
	<-s.done
	return s.requests
}

func (s *server) run() {
	defer close(s.done)
	for n := 0; ; n++ {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		reply := ""
		if len(s.replies) > 0 {
			reply = s.replies[min(n, len(s.replies)-1)]
		}
		s.answer(c.(*net.UnixConn), reply)
	}
}

// answer reads a request as its head says, answers it, and keeps whatever came
// until the client is through, also bytes that its head did not announce.
func (s *server) answer(c *net.UnixConn, reply string) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	var all bytes.Buffer
	br := bufio.NewReader(io.TeeReader(c, &all))
	length := readHead(br)
	if length >= 0 {
		io.CopyN(io.Discard, br, length)
	} else { // chunks: until the last one
		for {
			if line, err := br.ReadString('\n'); err != nil || line == "0\r\n" {
				break
			}
		}
		br.ReadString('\n')
	}
	io.WriteString(c, reply)
	c.CloseWrite()
	c.SetDeadline(time.Now().Add(time.Second))
	io.Copy(io.Discard, br)
	s.mu.Lock()
	s.requests = append(s.requests, all.String())
	s.mu.Unlock()
}

var contentLength = regexp.MustCompile(`(?i)^content-length: *(\d+)`)
var chunkedCoding = regexp.MustCompile(`(?i)^transfer-encoding: *chunked`)

// readHead gives the length of the body, -1 for chunks.
func readHead(br *bufio.Reader) int64 {
	length := int64(0)
	for {
		line, err := br.ReadString('\n')
		if err != nil || line == "\r\n" {
			return length
		}
		if m := contentLength.FindStringSubmatch(line); m != nil {
			length, _ = strconv.ParseInt(m[1], 10, 64)
		}
		if chunkedCoding.MatchString(line) {
			length = -1
		}
	}
}
