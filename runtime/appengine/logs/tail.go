package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// TailSpec is a log file inside a container.
type TailSpec struct {
	Path string // absolute, as the container sees it; also the source's name
	// MaxSize empties the file when it has reached it. 0 means never.
	MaxSize int64
}

// ContainerLogs are the files to follow in a container whose run.json has these
// entries under "logs". Entries that set up the sandbox's own log are none; a
// container without any other gets the two usual ones. A relative path is an
// error, beside what is right.
func ContainerLogs(entries []map[string]string) ([]TailSpec, error) {
	var specs []TailSpec
	var bad error
	for _, e := range entries {
		if _, ok := e["lxc"]; ok {
			continue
		}
		if _, ok := e["console"]; ok {
			continue
		}
		spec := TailSpec{Path: e["file"]}
		if spec.Path == "" {
			spec.Path = "/var/log/messages"
		}
		if !path.IsAbs(spec.Path) {
			bad = errors.Join(bad, fmt.Errorf("log file %q: write an absolute path", spec.Path))
			continue
		}
		if strings.HasPrefix(e["truncate"], "true") {
			n, err := strconv.ParseInt(e["maxsize"], 10, 64)
			if spec.MaxSize = n; err != nil || n <= 0 {
				spec.MaxSize = usualSize
			}
		}
		specs = append(specs, spec)
	}
	if len(specs) == 0 {
		specs = []TailSpec{{"/var/log/syslog", usualSize}, {"/var/log/messages", usualSize}}
	}
	return specs, bad
}

const (
	usualSize = 2 << 20
	tailEvery = 500 * time.Millisecond
	tailLine  = 4095 // upstream's longest; more is the next line
	// posXattr keeps where the reading was, as upstream does, so that a
	// restart does not log a file again.
	posXattr = "trusted.pv.logger.pos"
)

// Tail follows a file of a container until ctx is done: what is appended
// becomes lines of the source named by its path. root is the container's root
// directory; the caller keeps it. The file is opened below it, whatever links
// lie on the way, and only if it is a regular file. It need not exist yet, and
// may be replaced or truncated.
func (s *Server) Tail(ctx context.Context, root *os.File, platform string, spec TailSpec) {
	t := &tail{src: s.Source(platform, spec.Path, Info), root: root, spec: spec}
	defer t.close()
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	for {
		t.step(ctx)
		select {
		case <-ctx.Done():
			// What it said last; but a full disk does not hold the caller.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			t.step(last)
			return
		case <-tick.C:
		}
	}
}

type tail struct {
	src  *Source
	root *os.File
	spec TailSpec
	f    *os.File
	ino  uint64
	dev  uint64
	pos  int64
	part []byte
}

// step reads what is new.
func (t *tail) step(ctx context.Context) {
	fresh, err := t.open()
	if err != nil {
		// Not there, or not one to read: what is open is still read to its end.
		fresh = nil
	}
	if t.f != nil {
		t.drain(ctx)
	}
	if fresh == nil {
		return
	}
	if t.f != nil && t.same(fresh) {
		_ = fresh.Close()
		return
	}
	t.adopt(fresh)
	t.drain(ctx)
}

// open opens the file below the root, without waiting for anything.
func (t *tail) open() (*os.File, error) {
	raw, err := t.root.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var at error
	err = raw.Control(func(dir uintptr) { fd, at = t.openat(int(dir)) })
	if err = errors.Join(err, at); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), t.spec.Path), nil
}

// openat looks before it opens: to open a device or a pipe is to use it. The
// second open is of what was looked at, whatever has its name by then.
func (t *tail) openat(dir int) (int, error) {
	seen, err := unix.Openat2(dir, t.spec.Path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil { // EAGAIN too, where a path moves: the next step tries again
		return -1, err
	}
	defer unix.Close(seen)
	var st unix.Stat_t
	if err := unix.Fstat(seen, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, errors.New("not a regular file")
	}
	same := "/proc/self/fd/" + strconv.Itoa(seen)
	const flags = unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	if t.spec.MaxSize > 0 { // it is to be emptied
		if fd, err := unix.Open(same, unix.O_RDWR|flags, 0); err == nil {
			return fd, nil
		}
	}
	return unix.Open(same, unix.O_RDONLY|flags, 0)
}

func (t *tail) same(f *os.File) bool {
	dev, ino := identity(f)
	return dev == t.dev && ino == t.ino
}

func identity(f *os.File) (dev, ino uint64) {
	var st unix.Stat_t
	raw, err := f.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Fstat(int(fd), &st) })
	}
	return uint64(st.Dev), st.Ino
}

// adopt begins with a file where the last run has ended.
func (t *tail) adopt(f *os.File) {
	t.close()
	t.f = f
	t.dev, t.ino = identity(f)
	t.pos = t.remembered()
	if info, err := f.Stat(); err != nil || info.Size() < t.pos {
		t.pos = 0
	}
}

func (t *tail) close() {
	t.line()
	if t.f != nil {
		_ = t.f.Close()
		t.f = nil
	}
}

// drain reads to the end, and empties a file that has become too large.
func (t *tail) drain(ctx context.Context) {
	info, err := t.f.Stat()
	if err != nil {
		return
	}
	if info.Size() < t.pos {
		t.pos = 0 // somebody has truncated it
	}
	began := t.pos
	buf := make([]byte, 16<<10)
	for t.pos < info.Size() && ctx.Err() == nil {
		n, err := t.f.ReadAt(buf[:min(int64(len(buf)), info.Size()-t.pos)], t.pos)
		t.pos += int64(n)
		t.feed(buf[:n])
		if n == 0 || err != nil {
			break
		}
		for ctx.Err() == nil && t.src.pending.Load() > t.src.limit/2 {
			sleep(ctx, 10*time.Millisecond) // a file waits
		}
	}
	if t.spec.MaxSize > 0 && t.pos >= t.spec.MaxSize && t.f.Truncate(0) == nil {
		t.pos = 0
	}
	if t.pos != began {
		t.remember()
	}
}

// feed cuts lines at "\n" and at "\r", and long ones.
func (t *tail) feed(b []byte) {
	for len(b) > 0 {
		end := bytes.IndexAny(b, "\r\n")
		n := end
		if end < 0 {
			n = len(b)
		}
		n = min(n, tailLine-len(t.part))
		t.part = append(t.part, b[:n]...)
		b = b[n:]
		if n == end {
			t.line()
			b = b[1:]
		} else if len(t.part) == tailLine {
			t.line()
		}
	}
}

// line logs the line that is complete; an empty one is none.
func (t *tail) line() {
	if len(t.part) > 0 {
		_, _ = t.src.Write(append(t.part, '\n'))
		t.part = t.part[:0]
	}
}

// remember and remembered keep the position with the file. Without the right
// to do so nothing is kept.
func (t *tail) remember() {
	if raw, err := t.f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.Fsetxattr(int(fd), posXattr, []byte(strconv.FormatInt(t.pos-int64(len(t.part)), 10)), 0)
		})
	}
}

func (t *tail) remembered() int64 {
	buf := make([]byte, 32)
	n := 0
	if raw, err := t.f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { n, _ = unix.Fgetxattr(int(fd), posXattr, buf) })
	}
	pos, err := strconv.ParseInt(string(buf[:max(n, 0)]), 10, 64)
	if err != nil || pos < 0 {
		return 0
	}
	return pos
}
