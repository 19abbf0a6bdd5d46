package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// pair is two connected sockets.
func pair(t testing.TB, kind int) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return conn(t, fds[0]), conn(t, fds[1])
}

func conn(t testing.TB, fd int) *net.UnixConn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "pair")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.UnixConn)
}

// through returns a consumer and a provider with a relay between them.
func through(t testing.TB, kind int) (consumer, provider *net.UnixConn, done <-chan error) {
	t.Helper()
	return counted(t, kind, new(xconnect.Stats))
}

func counted(t testing.TB, kind int, stats *xconnect.Stats) (consumer, provider *net.UnixConn, done <-chan error) {
	t.Helper()
	consumer, c := pair(t, kind)
	p, provider := pair(t, kind)
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	finished := make(chan struct{})
	go func() {
		err := relay.Both(ctx, c, p, stats)
		c.Close()
		p.Close()
		end <- err
		close(finished)
	}()
	t.Cleanup(func() { cancel(); <-finished })
	deadline := time.Now().Add(5 * time.Second)
	consumer.SetDeadline(deadline)
	provider.SetDeadline(deadline)
	return consumer, provider, end
}

func TestBytesBothWays(t *testing.T) {
	consumer, provider, done := through(t, unix.SOCK_STREAM)
	data := make([]byte, 3<<20+17)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	go func() {
		io.Copy(provider, provider) // echo until the consumer ends
		provider.CloseWrite()
	}()
	go func() {
		consumer.Write(data)
		consumer.CloseWrite()
	}()
	got, err := io.ReadAll(consumer)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes of %d came back: %v", len(got), len(data), err)
	}
	if err := <-done; err != nil {
		t.Errorf("Both = %v", err)
	}
}

// Each way in which two sides can end, and that the relay notices.
func TestEnds(t *testing.T) {
	expectEOF := func(t *testing.T, c *net.UnixConn, want string) {
		t.Helper()
		got, err := io.ReadAll(c)
		if err != nil || string(got) != want {
			t.Fatalf("read %q, %v; want %q and the end", got, err, want)
		}
	}
	for name, act := range map[string]func(t *testing.T, consumer, provider *net.UnixConn){
		"the consumer ends first and gets its answer": func(t *testing.T, c, p *net.UnixConn) {
			c.Write([]byte("question"))
			c.CloseWrite()
			expectEOF(t, p, "question")
			p.Write([]byte("answer"))
			p.Close()
			expectEOF(t, c, "answer")
		},
		"the provider answers and closes": func(t *testing.T, c, p *net.UnixConn) {
			p.Write([]byte("hello"))
			p.Close()
			expectEOF(t, c, "hello")
		},
		"the provider ends its direction and still listens": func(t *testing.T, c, p *net.UnixConn) {
			p.CloseWrite()
			expectEOF(t, c, "")
			c.Write([]byte("more"))
			c.CloseWrite()
			expectEOF(t, p, "more")
		},
		"the consumer closes at once": func(t *testing.T, c, p *net.UnixConn) {
			c.Close()
			expectEOF(t, p, "")
			if _, err := p.Write([]byte("x")); err == nil {
				time.Sleep(50 * time.Millisecond) // the relay may have taken it
				if _, err = p.Write([]byte("x")); err == nil {
					t.Error("the provider writes to nobody")
				}
			}
		},
		"the consumer ends its direction, then closes before the answer": func(t *testing.T, c, p *net.UnixConn) {
			c.CloseWrite()
			expectEOF(t, p, "")
			c.Close()
		},
		"the provider closes with unread data": func(t *testing.T, c, p *net.UnixConn) {
			c.Write(make([]byte, 1<<16))
			p.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, p, done := through(t, unix.SOCK_STREAM)
			act(t, c, p)
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("Both = %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("the relay still holds the connection")
			}
		})
	}
}

func TestFilesTravelWithTheirBytes(t *testing.T) {
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} {
		consumer, provider, _ := through(t, kind)
		before := openFiles(t)
		for i, text := range []string{"first", "second", "third"} {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			oob := unix.UnixRights(int(w.Fd()))
			if _, _, err := consumer.WriteMsgUnix([]byte(text), oob, nil); err != nil {
				t.Fatal(err)
			}
			w.Close()
			buf, in := make([]byte, 64), make([]byte, 256)
			n, oobn, _, _, err := provider.ReadMsgUnix(buf, in)
			if err != nil || string(buf[:n]) != text {
				t.Fatalf("message %d: %q, %v", i, buf[:n], err)
			}
			fd := oneFile(t, in[:oobn])
			unix.Write(fd, []byte(text))
			unix.Close(fd)
			got, err := io.ReadAll(r)
			r.Close()
			if err != nil || string(got) != text {
				t.Errorf("through descriptor %d: %q, %v", i, got, err)
			}
		}
		if after := openFiles(t); after != before {
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	}
}

func oneFile(t *testing.T, oob []byte) int {
	t.Helper()
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range msgs {
		if m.Header.Type == unix.SCM_RIGHTS {
			fds, err := unix.ParseUnixRights(&m)
			if err != nil || len(fds) != 1 {
				t.Fatalf("descriptors %v, %v", fds, err)
			}
			return fds[0]
		}
	}
	t.Fatal("the message has no descriptor")
	return -1
}

func TestCredentialsAreTheSenders(t *testing.T) {
	consumer, provider, _ := through(t, unix.SOCK_SEQPACKET)
	raw, err := provider.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	if err != nil {
		t.Fatal(err)
	}
	want := unix.Ucred{Pid: int32(os.Getpid()), Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}
	if os.Geteuid() == 0 { // root may claim anything: here the claim must arrive
		want.Uid, want.Gid = 1234, 4321
	}
	if _, _, err := consumer.WriteMsgUnix([]byte("it is me"), unix.UnixCredentials(&want), nil); err != nil {
		t.Fatal(err)
	}
	buf, oob := make([]byte, 64), make([]byte, 256)
	n, oobn, _, _, err := provider.ReadMsgUnix(buf, oob)
	if err != nil || string(buf[:n]) != "it is me" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		t.Fatalf("%v, %v", msgs, err)
	}
	got, err := unix.ParseUnixCredentials(&msgs[0])
	if err != nil || *got != want {
		t.Errorf("credentials %+v, %v; want %+v", got, err, want)
	}
}

func TestPacketsKeepTheirEdges(t *testing.T) {
	consumer, provider, _ := through(t, unix.SOCK_SEQPACKET)
	for _, size := range []int{1, 0, 1000, 150_000, 7} {
		if _, err := consumer.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 300_000)
		n, _, _, _, err := provider.ReadMsgUnix(buf, nil)
		if size == 0 && errors.Is(err, io.EOF) {
			err = nil // what net makes of an empty packet
		}
		if err != nil || n != size {
			t.Errorf("a packet of %d bytes arrived as %d, %v", size, n, err)
		}
	}
}

// A provider that never reads: the consumer is stopped after what the two
// sockets and one buffer hold.
func TestBackPressure(t *testing.T) {
	consumer, _, _ := through(t, unix.SOCK_STREAM)
	consumer.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	n, err := consumer.Write(make([]byte, 64<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("wrote %d bytes: %v", n, err)
	}
	if n > 4<<20 {
		t.Errorf("%d bytes were taken for a provider that does not read", n)
	}
}

// A consumer that sends as many descriptors as it can to a provider that takes
// none: each connection holds one message's, and the link no more than MaxHeld.
func TestDescriptorFlood(t *testing.T) {
	stats := new(xconnect.Stats)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	oob := unix.UnixRights(slices.Repeat([]int{int(w.Fd())}, 253)...)
	var cut, over atomic.Int32
	var relays sync.WaitGroup
	var ends []*net.UnixConn
	for i := range 6 {
		consumer, provider, done := counted(t, unix.SOCK_STREAM, stats)
		ends = append(ends, consumer, provider)
		relays.Go(func() {
			if err := <-done; errors.Is(err, relay.ErrTooManyFiles) {
				cut.Add(1)
			}
			over.Add(1)
		})
		consumer.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		for {
			if _, _, err := consumer.WriteMsgUnix([]byte("x"), oob, nil); err != nil {
				break
			}
		}
		// Until the relay has met the message, on a busy machine too.
		for late := time.Now().Add(5 * time.Second); stats.HoldFiles(0)/253+int(over.Load()) <= i && time.Now().Before(late); {
			time.Sleep(time.Millisecond)
		}
		if h := stats.HoldFiles(0); h > relay.MaxHeld+253 {
			t.Fatalf("%d descriptors are held", h)
		}
	}
	for _, c := range ends {
		c.Close()
	}
	relays.Wait()
	if h := stats.HoldFiles(0); h != 0 || cut.Load() == 0 {
		t.Errorf("%d descriptors held at the end, %d connections were cut", h, cut.Load())
	}
}

func TestContextCuts(t *testing.T) {
	consumer, c := pair(t, unix.SOCK_STREAM)
	p, _ := pair(t, unix.SOCK_STREAM)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- relay.Both(ctx, c, p, new(xconnect.Stats)) }()
	consumer.Write([]byte("x"))
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Both = %v", err)
	}
	if _, err := io.ReadAll(consumer); err != nil {
		t.Errorf("the consumer sees %v, want the end", err)
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	runtime.GC()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}
