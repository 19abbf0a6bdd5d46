package rest_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Many clients at once, with bodies of all sizes and both framings, some of
// which go away in the middle: each answer belongs to its question.
func TestManyClients(t *testing.T) {
	p, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the client has gone
		}
		answer := bytes.Repeat(h.Sum(nil), int(n%997))
		if n%2 == 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		}
		w.Header().Set("X-Who", r.Header.Get("X-PV-Client")+" "+r.Header.Get("X-PV-Role")+" "+r.Header.Get("X-Client"))
		w.Write(answer)
	})
	var wg sync.WaitGroup
	for client := range 16 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(client), 1))
			tr := &http.Transport{Dial: func(string, string) (net.Conn, error) { return net.Dial("unix", p.Consumer.Path(p.Link.Target)) }}
			defer tr.CloseIdleConnections()
			for range 25 {
				body := make([]byte, rnd.IntN(1<<(1+rnd.IntN(19))))
				for i := range body {
					body[i] = byte(rnd.Uint32())
				}
				if rnd.IntN(8) == 0 {
					abort(t, p.Consumer.Path(p.Link.Target), body)
				}
				var r io.Reader = bytes.NewReader(body)
				if rnd.IntN(2) == 0 {
					r = io.MultiReader(r) // without a length: in chunks
				}
				req, err := http.NewRequest("POST", "http://x/", r)
				if err != nil {
					t.Error(err)
					return
				}
				me := fmt.Sprint("client", client)
				req.Header.Set("X-Client", me)
				req.Header.Set("X-Pv-Role", "root")
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				sum := sha256.Sum256(body)
				if want := bytes.Repeat(sum[:], len(body)%997); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes got an answer of %d, not %d: %v", len(body), len(got), len(want), err)
				}
				if who := resp.Header.Get("X-Who"); who != "consumer admin "+me {
					t.Errorf("the provider saw %q", who)
				}
			}
		})
	}
	wg.Wait()
	p.WaitIdle()
}

// abort sends half of a request and goes away.
func abort(t *testing.T, path string, body []byte) {
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body)+1)
	c.Write(body)
}
