package unix_test

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	plugin "github.com/pvkit/pvkit/runtime/xconnect/plugins/unix"
	"github.com/pvkit/pvkit/runtime/xconnect/xconnecttest"
)

// What a stream's sides send beside their bytes arrives with them, both ways:
// descriptors, and who they are. The very first message has all of it, too.
func TestStreamAncillary(t *testing.T) {
	p := xconnecttest.New(t, plugin.Plugin{Loops: xconnecttest.Loops(t)})
	l := p.Listen("unix")
	passCred(t, l) // inherited by what it accepts
	p.Start()
	consumer := p.Dial("unix")
	passCred(t, consumer)
	send(t, consumer, "to the provider", 77)
	provider, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close()
	receive(t, provider, "to the provider", 77)
	for _, text := range []string{"and", "back"} {
		send(t, provider, text, 88)
		receive(t, consumer, text, 88)
		send(t, consumer, text, 99)
		receive(t, provider, text, 99)
	}
	// Who sends without saying who is known by the kernel's word.
	if _, err := consumer.Write([]byte("plain")); err != nil {
		t.Fatal(err)
	}
	buf, oob := make([]byte, 100), make([]byte, 200)
	n, oobn, _, _, err := provider.ReadMsgUnix(buf, oob)
	if err != nil || string(buf[:n]) != "plain" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	u, files := ancillary(t, oob[:oobn])
	if u == nil || u.Pid != int32(os.Getpid()) || u.Uid != uint32(os.Getuid()) || len(files) > 0 {
		t.Errorf("credentials %+v, files %v", u, files)
	}
}

func passCred(t *testing.T, c syscall.Conn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
		err = errors.Join(err, cerr)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// send sends text with the writing end of a pipe that has it, too.
func send(t *testing.T, c *net.UnixConn, text string, uid uint32) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	oob := append(unix.UnixRights(int(r.Fd())), unix.UnixCredentials(&unix.Ucred{Pid: int32(os.Getpid()), Uid: uid, Gid: uid + 1})...)
	if _, _, err := c.WriteMsgUnix([]byte(text), oob, nil); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c *net.UnixConn, text string, uid uint32) {
	t.Helper()
	buf, oob := make([]byte, 100), make([]byte, 200)
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil || string(buf[:n]) != text {
		t.Fatalf("%q, %v, want %q", buf[:n], err, text)
	}
	u, files := ancillary(t, oob[:oobn])
	if u == nil || u.Uid != uid || u.Gid != uid+1 || u.Pid != int32(os.Getpid()) {
		t.Errorf("%s: credentials %+v", text, u)
	}
	if len(files) != 1 {
		t.Fatalf("%s: files %v", text, files)
	}
	f := os.NewFile(uintptr(files[0]), "passed")
	defer f.Close()
	if n, err := f.Read(buf); err != nil || string(buf[:n]) != text {
		t.Errorf("the descriptor has %q, %v, want %q", buf[:n], err, text)
	}
}

func ancillary(t *testing.T, oob []byte) (u *unix.Ucred, files []int) {
	t.Helper()
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range msgs {
		switch m.Header.Type {
		case unix.SCM_CREDENTIALS:
			u, err = unix.ParseUnixCredentials(&m)
		case unix.SCM_RIGHTS:
			files, err = unix.ParseUnixRights(&m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return u, files
}
