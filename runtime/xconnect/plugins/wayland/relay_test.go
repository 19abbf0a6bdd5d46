package wayland_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/wayland"
	"github.com/pvkit/pvkit/runtime/xconnect/xconnecttest"
)

// memfd is a file with one byte in it.
func memfd(t testing.TB, b byte) int {
	t.Helper()
	fd, err := unix.MemfdCreate("buffer", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Pwrite(fd, []byte{b}, 0); err != nil {
		t.Fatal(err)
	}
	return fd
}

// Every third message has descriptors; they come in order, all with their own
// message or before it, and at most as many at once as were sent at once.
func TestDescriptorsInOrder(t *testing.T) {
	pair := xconnecttest.New(t, wayland.Plugin{Loops: xconnecttest.Loops(t)})
	ln := pair.Listen("unix")
	pair.Start()
	c := pair.Dial("unix")
	p, err := ln.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const messages, size, batch = 300, 20, 28
	go func() {
		for i := range messages {
			msg := make([]byte, size)
			msg[0] = byte(i)
			var oob []byte
			var fds []int
			if i%3 == 0 {
				for range 1 + i%batch {
					fds = append(fds, memfd(t, byte(i)))
				}
				oob = unix.UnixRights(fds...)
			}
			if _, _, err := c.WriteMsgUnix(msg, oob, nil); err != nil {
				t.Error(err)
				return
			}
			for _, fd := range fds {
				unix.Close(fd)
			}
		}
		c.CloseWrite()
	}()
	var bytes []byte
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(batch*4)) // libwayland's room
	next := 0
	for {
		n, oobn, flags, _, err := p.ReadMsgUnix(buf, oob)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || flags&unix.MSG_CTRUNC != 0 {
			t.Fatalf("after %d bytes: %v, flags %#x", len(bytes), err, flags)
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range msgs {
			got, err := unix.ParseUnixRights(&m)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, got...)
		}
		bytes = append(bytes, buf[:n]...)
		for ; len(bytes) >= size; next, bytes = next+1, bytes[size:] {
			if bytes[0] != byte(next) {
				t.Fatalf("message %d is %d", next, bytes[0])
			}
			if next%3 != 0 {
				continue
			}
			for range 1 + next%batch {
				var b [1]byte
				if len(fds) == 0 {
					t.Fatalf("message %d came before its descriptors", next)
				}
				if _, err := unix.Pread(fds[0], b[:], 0); err != nil || b[0] != byte(next) {
					t.Fatalf("message %d has descriptor %d, %v", next, b[0], err)
				}
				unix.Close(fds[0])
				fds = fds[1:]
			}
		}
	}
	if next != messages || len(fds)+len(bytes) != 0 {
		t.Errorf("%d messages; %d descriptors and %d bytes are left", next, len(fds), len(bytes))
	}
}

// openFiles counts this process's descriptors.
func openFiles(t testing.TB) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// Clients that send as many descriptors as they can to a compositor that reads
// nothing hold few of ours, and none when they are gone.
func TestDescriptorFlood(t *testing.T) {
	pair := xconnecttest.New(t, wayland.Plugin{Loops: xconnecttest.Loops(t)})
	ln := pair.Listen("unix")
	pair.Start()
	before := openFiles(t)
	one := memfd(t, 1)
	defer unix.Close(one)
	flood := make([]int, 253)
	for i := range flood {
		flood[i] = one
	}
	const clients = 4
	var conns []*net.UnixConn
	most := 0
	for range clients {
		c := pair.Dial("unix")
		p, err := ln.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c, p)
		c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		for {
			if _, _, err := c.WriteMsgUnix([]byte{1}, unix.UnixRights(flood...), nil); err != nil {
				break // full, or cut
			}
			most = max(most, openFiles(t)-before)
		}
	}
	// Ours are in both ends of each connection, twice; the rest is in passing.
	if limit := clients*4 + 2*1024; most > limit {
		t.Errorf("%d descriptors open during the flood, the limit is %d", most, limit)
	}
	for _, c := range conns {
		c.Close()
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := openFiles(t) - before - 1 // one
		if left <= 0 && pair.WaitFor(xconnect.Up).Counters.Active == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d descriptors left open, %d connections", left, pair.WaitFor(xconnect.Up).Counters.Active)
		}
	}
}

// A client whose compositor is gone sees the end at once.
func TestNoCompositor(t *testing.T) {
	pair := xconnecttest.New(t, wayland.Plugin{Loops: xconnecttest.Loops(t)})
	pair.Start()
	if _, err := pair.Dial("unix").Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read: %v", err)
	}
	for end := time.Now().Add(5 * time.Second); pair.WaitFor(xconnect.Up).Counters.Errors == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the error is not counted")
		}
	}
}
