package rest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/xconnect/plugins/rest"
	"github.com/pvkit/pvkit/runtime/xconnect/xconnecttest"
)

// BenchmarkUp is what a request's head costs without sockets.
func BenchmarkUp(b *testing.B) {
	in := []byte("GET /info HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	up := rest.Upper("web", "admin")
	out := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, used, err := up(out[:0], in); used != len(in) || err != nil {
			b.Fatal(used, err)
		}
	}
}

// BenchmarkBody is 1 MiB to the provider, with its length or in chunks, or from
// it.
func BenchmarkBody(b *testing.B) {
	const size = 1 << 20
	p := xconnecttest.New(b, rest.Plugin{Loops: xconnecttest.Loops(b)})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.Write(make([]byte, size))
			return
		}
		if n, err := io.Copy(io.Discard, r.Body); n != size || err != nil {
			http.Error(w, fmt.Sprint(n, err), 400)
		}
	})}
	go srv.Serve(p.Listen("unix"))
	b.Cleanup(func() { srv.Close() })
	p.Start()
	body := strings.Repeat("x", size)
	chunk := "10000\r\n" + body[:1<<16] + "\r\n"
	for name, req := range map[string]string{
		"length":  fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", size, body),
		"chunked": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, 16) + "0\r\n\r\n",
		"answer":  "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			c, err := net.Dial("unix", p.Consumer.Path(p.Link.Target))
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			br := bufio.NewReaderSize(c, 64<<10)
			b.SetBytes(size)
			for b.Loop() {
				if _, err := io.WriteString(c, req); err != nil {
					b.Fatal(err)
				}
				resp, err := http.ReadResponse(br, nil)
				if err != nil || resp.StatusCode != 200 {
					b.Fatal(resp, err)
				}
				io.Copy(io.Discard, resp.Body)
			}
		})
	}
}
