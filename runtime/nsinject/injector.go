package nsinject

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

// Options change what New makes. The zero value is right for a device.
type Options struct {
	// OwnRoot also enters processes that share the daemon's own root. By
	// default they are refused: such a pid is a host process that got the
	// number of a container that has ended.
	OwnRoot bool
}

// Injector holds one handle for each container that somebody has entered.
type Injector struct {
	opts Options

	mu    sync.Mutex // guards peers
	peers map[int]*handle
}

var _ xconnect.Injector = (*Injector)(nil)

// New makes an Injector.
func New(opts Options) *Injector {
	return &Injector{opts: opts, peers: map[int]*handle{}}
}

// ErrOwnRoot says that a pid belongs to a process of the host.
var ErrOwnRoot = errors.New("it is a process of the host, not a container")

// handle is an entered peer, shared by its links.
type handle struct {
	pid   int
	root  int           // O_PATH
	pidfd *os.File      // nil for the host
	gone  chan struct{} // closed when the process ends
	owner owner

	watched chan struct{} // closed when the watcher has returned
	place   sync.Mutex    // one new path at a time, see put
	refs    int           // guarded by Injector.mu

	prompt atomic.Uint64 // a file system that answers at once, see FindNow; 0: none is known

	dirsMu sync.Mutex // guards dirs
	dirs   map[inode]*directory
}

// Enter implements xconnect.Injector.
func (in *Injector) Enter(ctx context.Context, p xconnect.Peer) (xconnect.Root, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pid := p.PID
	if p.Host() {
		pid = 0
	} else if pid <= 0 {
		return nil, fmt.Errorf("enter %s: its pid is not known: %w", p.Name, xconnect.ErrPeerGone)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	h := in.peers[pid]
	if h == nil || h.ended() {
		// An ended one stays with those who hold it; the pid may live again.
		var err error
		if h, err = in.open(pid); err != nil {
			return nil, fmt.Errorf("enter %s: %w", p.Name, err)
		}
		in.peers[pid] = h
	}
	h.refs++
	return &root{in: in, handle: h, name: p.Name}, nil
}

func (in *Injector) release(h *handle) {
	in.mu.Lock()
	h.refs--
	last := h.refs == 0
	if last && in.peers[h.pid] == h {
		delete(in.peers, h.pid)
	}
	in.mu.Unlock()
	if last {
		h.close()
	}
}

func (in *Injector) open(pid int) (*handle, error) {
	h := &handle{pid: pid, root: -1, gone: make(chan struct{}), watched: make(chan struct{}), dirs: map[inode]*directory{}}
	var err error
	if pid == 0 {
		h.root, err = unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		close(h.watched)
		return h, err
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("pid %d: %w", pid, xconnect.ErrPeerGone)
	}
	if err != nil {
		return nil, fmt.Errorf("pid %d: %w", pid, os.NewSyscallError("pidfd_open", err))
	}
	h.pidfd = os.NewFile(uintptr(fd), "pidfd")
	if err := h.openRoot(in.opts); err != nil {
		h.pidfd.Close()
		if h.root >= 0 {
			unix.Close(h.root)
		}
		return nil, fmt.Errorf("pid %d: %w", pid, err)
	}
	go h.watch()
	return h, nil
}

// openRoot opens the root by pid and then looks at the pidfd: while that
// process lives, the pid was its own.
func (h *handle) openRoot(opts Options) error {
	proc := "/proc/" + strconv.Itoa(h.pid)
	var err error
	if h.root, err = unix.Open(proc+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		h.root = -1
		return fmt.Errorf("open its root: %w", err)
	}
	if h.owner, err = ownerOf(proc); err != nil {
		return err
	}
	if h.ended() {
		return xconnect.ErrPeerGone
	}
	if opts.OwnRoot {
		return nil
	}
	own, err := sameRoot(h.root)
	if err == nil && own {
		err = ErrOwnRoot
	}
	return err
}

// sameRoot compares the mount and the inode with those of our own root.
func sameRoot(fd int) (bool, error) {
	var theirs, ours unix.Statx_t
	const mask = unix.STATX_INO | unix.STATX_MNT_ID
	err := errors.Join(
		unix.Statx(fd, "", unix.AT_EMPTY_PATH, mask, &theirs),
		unix.Statx(unix.AT_FDCWD, "/", 0, mask, &ours))
	if err != nil {
		return false, fmt.Errorf("compare its root with ours: %w", err)
	}
	return theirs.Mnt_id == ours.Mnt_id && theirs.Ino == ours.Ino, nil
}

// ended asks the kernel: a pidfd is readable once its process has ended.
func (h *handle) ended() bool {
	if h.pidfd == nil {
		return false
	}
	raw, err := h.pidfd.SyscallConn()
	if err != nil {
		return true
	}
	over := true
	raw.Control(func(fd uintptr) { over = readable(fd) })
	return over
}

func readable(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err != nil && err != unix.EINTR || n > 0
}

func (h *handle) watch() {
	defer close(h.watched)
	raw, err := h.pidfd.SyscallConn()
	if err == nil {
		err = raw.Read(readable)
	}
	if err == nil {
		close(h.gone)
	}
}

func (h *handle) close() {
	if h.pidfd != nil {
		h.pidfd.Close() // ends the watcher
	}
	<-h.watched
	unix.Close(h.root)
}

// root is one entry into a handle.
type root struct {
	in     *Injector
	handle *handle
	name   string
	once   sync.Once

	madeMu sync.Mutex // guards made
	made   []made
}

var _ xconnect.Root = (*root)(nil)

// Gone implements xconnect.Root.
func (r *root) Gone() <-chan struct{} { return r.handle.gone }

// Close implements xconnect.Root.
func (r *root) Close() error {
	r.once.Do(func() { r.in.release(r.handle) })
	return nil
}

// usable comes before every operation. The watcher may learn of an end a moment
// late; the root that is held is the ended process's own, never another's.
func (r *root) usable(ctx context.Context) error {
	select {
	case <-r.handle.gone:
		return xconnect.ErrPeerGone
	default:
		return ctx.Err()
	}
}

// fail adds who and where to an error.
func (r *root) fail(what, path string, err error) error {
	return fmt.Errorf("%s %s in %s: %w", what, path, r.name, err)
}

// resolve opens a path of the peer's. A container that renames directories all
// the time can make the kernel give up with EAGAIN (openat2(2)): it gets a few
// tries, not endless ones.
func (h *handle) resolve(path string, flags int) (int, error) {
	var fd int
	var err error
	for range 64 {
		fd, err = h.resolveOnce(path, flags, 0)
		if err != unix.EAGAIN && err != syscall.EINTR {
			break
		}
	}
	return fd, err
}

func (h *handle) resolveOnce(path string, flags int, how uint64) (int, error) {
	return unix.Openat2(h.root, path, &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | how,
	})
}
