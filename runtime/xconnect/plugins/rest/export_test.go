package rest

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Relay is what the provider gets for the consumer's bytes, for the fuzz test:
// the requests of one connection, until their end or a refusal.
func Relay(in []byte, client, role string) ([]byte, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	var c [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		n, err := net.FileConn(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		c[i] = n.(*net.UnixConn)
		defer c[i].Close()
	}
	go func() {
		c[0].Write(in)
		c[0].CloseWrite()
	}()
	r, err := newReader(context.Background(), c[1], time.Minute)
	if err != nil {
		return nil, err
	}
	s := session{in: r, id: identity{client, role}}
	var out bytes.Buffer
	for first := true; ; first = false {
		f, err := s.request(first)
		if err == io.EOF {
			return out.Bytes(), nil
		}
		if err == nil {
			err = s.forward(f, &out)
		}
		if err != nil {
			return out.Bytes(), err
		}
	}
}
