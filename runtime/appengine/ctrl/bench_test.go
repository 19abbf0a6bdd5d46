package ctrl_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/pvkit/pvkit/internal/unixsock"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

func benchServer(b *testing.B) (string, *ctrltest.Machine) {
	m := ctrltest.NewMachine(nil)
	return serve(b, ctrl.Options{Backend: m.Backend(), Owner: byEnviron}), m
}

// BenchmarkConnection is a client as the device's tools are: one connection for
// each request, HTTP/1.0.
func BenchmarkConnection(b *testing.B) {
	socket, _ := benchServer(b)
	b.RunParallel(func(pb *testing.PB) {
		buf := make([]byte, 4096)
		for pb.Next() {
			c, err := unixsock.Dial(context.Background(), "unix", socket)
			if err != nil {
				b.Error(err)
				return
			}
			io.WriteString(c, "GET /containers HTTP/1.0\r\nHost: localhost\r\n\r\n")
			for err == nil {
				_, err = c.Read(buf)
			}
			c.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkKeptAlive is a client that keeps its connection.
func BenchmarkKeptAlive(b *testing.B) {
	socket, _ := benchServer(b)
	b.RunParallel(func(pb *testing.PB) {
		c, err := unixsock.Dial(context.Background(), "unix", socket)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		for pb.Next() {
			if err := ask(c); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// ask makes a request whose reply comes in one piece.
func ask(c net.Conn) error {
	io.WriteString(c, "GET /containers HTTP/1.1\r\nHost: localhost\r\n\r\n")
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err == nil && !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200 OK")) {
		err = fmt.Errorf("%.40q", buf[:n])
	}
	return err
}

// BenchmarkThousandClients: an operation is one request of each of 1,000
// clients that are connected at the same time.
func BenchmarkThousandClients(b *testing.B) {
	socket, _ := benchServer(b)
	var conns []net.Conn
	for range 1000 {
		c, err := unixsock.Dial(context.Background(), "unix", socket)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for b.Loop() {
		var wg sync.WaitGroup
		for _, c := range conns {
			wg.Go(func() {
				if err := ask(c); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkObject moves 64 MiB in each direction.
func BenchmarkObject(b *testing.B) {
	text := bytes.Repeat([]byte("0123456789abcdef"), 4<<20)
	sum := sha256.Sum256(text)
	name := hex.EncodeToString(sum[:])
	socket, m := benchServer(b)
	c := pvctrl.NewClient(socket)
	b.Run("get", func(b *testing.B) {
		if err := m.PutObject(context.Background(), name, -1, bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			r, err := c.Object(context.Background(), name)
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != int64(len(text)) {
				b.Fatal(n, err)
			}
			r.Close()
		}
	})
	b.Run("put", func(b *testing.B) { // refused after all bytes were read and hashed
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if err := c.PutObject(context.Background(), strings.Repeat("0", 64), int64(len(text)), bytes.NewReader(text)); err == nil {
				b.Fatal("stored")
			}
		}
	})
}

// BenchmarkEvents is from a change to the last of 100 listeners.
func BenchmarkEvents(b *testing.B) {
	events := ctrl.NewEvents()
	m := ctrltest.NewMachine(events)
	socket := serve(b, ctrl.Options{Backend: m.Backend(), Owner: byEnviron, Events: events})
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan struct{})
	var wg sync.WaitGroup
	for range 100 {
		stream, err := pvctrl.NewClient(socket).Events(ctx, "")
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			for range stream {
				select {
				case got <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for b.Loop() {
		m.SetStatus(ctrltest.Norole, pvctrl.StatusReady)
		for range 100 {
			<-got
		}
	}
	cancel()
	wg.Wait()
}
