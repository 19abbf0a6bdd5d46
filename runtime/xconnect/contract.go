package xconnect

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"time"
)

// A Plugin carries one kind of link.
type Plugin interface {
	// Type is the graph's type text that the plugin serves.
	Type() string

	// Run makes the link, calls env.Ready once a consumer can use it, and
	// blocks until ctx is done or the link cannot go on. When it returns,
	// nothing is left: no socket or node in a container, no goroutine, no
	// descriptor. It returns nil when ctx ended it; any error is logged and the
	// link tried again later. Run is called again, with a new Env, after every
	// return but the last; a Plugin keeps no state between calls and serves
	// many links at once.
	//
	// ctx ends in two ways. With the cause ErrStopping, open connections may
	// finish within env.Drain. With any other cause the link has been revoked:
	// they are cut at once. relay.Serve does both.
	Run(ctx context.Context, l Link, env Env) error
}

// ErrStopping is the cause of a context that ends because the daemon stops.
var ErrStopping = errors.New("the daemon is stopping")

// ErrPermanent marks a refusal that another attempt would only repeat, such as
// a device that policy forbids. The link is tried again when the graph changes
// it, not before.
var ErrPermanent = errors.New("refused")

// Env is what a plugin may use besides the link. All fields are set.
type Env struct {
	Consumer Root          // entered for as long as Run runs
	Provider Root          // the same
	Log      *slog.Logger  // with the link's names on it
	Stats    *Stats        // what the status page shows for this link
	Ready    func()        // call once; later calls do nothing
	Drain    time.Duration // see Plugin.Run
	MaxConns int           // connections at once on this link
}

// DrainFor is how long open connections may go on after ctx is done.
func (e Env) DrainFor(ctx context.Context) time.Duration {
	if errors.Is(context.Cause(ctx), ErrStopping) {
		return e.Drain
	}
	return 0
}

// An Injector reaches into containers.
type Injector interface {
	// Enter holds on to a running peer. The Root stays with this very process:
	// after it has ended, every method fails with ErrPeerGone, also when its
	// pid is in use again. Whoever enters closes the Root.
	Enter(ctx context.Context, p Peer) (Root, error)
}

// ErrPeerGone says that the peer's init has ended.
var ErrPeerGone = errors.New("the container has stopped")

// Root is a peer's file tree. Paths are the peer's own absolute paths, of any
// length; symbolic links in them resolve inside the peer, whatever they say,
// and magic links never resolve. All methods may be called at the same time.
type Root interface {
	// Listen makes a listening socket at path with the mode; network is "unix"
	// or "unixpacket". Missing directories are made with mode 0755. A socket
	// that nothing is bound to any more is replaced; anything else at path is
	// an error that matches fs.ErrExist. Accept returns *net.UnixConn. Close
	// also takes the socket away, if it is still the one that Listen made.
	Listen(ctx context.Context, network, path string, mode fs.FileMode) (net.Listener, error)

	// ListenPacket does the same for a datagram socket. remove takes it away;
	// the caller closes the connection too.
	ListenPacket(ctx context.Context, path string, mode fs.FileMode) (c *net.UnixConn, remove func() error, err error)

	// Dial connects to the socket at path; network is "unix", "unixpacket" or
	// "unixgram". It waits while the socket's queue is full, until ctx is done.
	// A socket of another type gives syscall.EPROTOTYPE.
	Dial(ctx context.Context, network, path string) (*net.UnixConn, error)

	// DialAs is Dial with the credentials that the other side will see.
	DialAs(ctx context.Context, network, path string, as Cred) (*net.UnixConn, error)

	// ReadFile returns a regular file of at most limit bytes. It never waits
	// for what is not a regular file, such as a FIFO.
	ReadFile(ctx context.Context, path string, limit int64) ([]byte, error)

	// Node looks at a device node; it is an error if path is not one.
	Node(ctx context.Context, path string) (Node, error)

	// PutNode makes the device node. The same device at path is replaced by
	// it; anything else there is an error that matches fs.ErrExist. remove
	// takes the node away if it is still there.
	PutNode(ctx context.Context, n Node, path string) (remove func() error, err error)

	// Gone is closed when the peer's init ends. For the host it never is.
	Gone() <-chan struct{}

	// Close lets go. Listeners and connections live on.
	Close() error
}

// A NowFinder is a Root that can find a socket without ever waiting. Any error,
// also for a reason that Dial would overcome, leaves it to Dial.
type NowFinder interface {
	// FindNow returns an O_PATH descriptor, to which whoever connects does not
	// wait either.
	FindNow(path string) (fd int, err error)
}

// A Detacher is a listener that gives its socket to somebody who waits for
// consumers without Go's network poller. The listener itself is closed by that;
// remove takes its path away.
type Detacher interface {
	Detach() (fd int, remove func() error, err error)
}

// A Minder is a Root that can tell whether what was made in it is still where it
// was put.
type Minder interface {
	// Displaced names something that is not, or is "". Without wait it looks
	// only at what the kernel has at hand; sure is false if that does not say.
	Displaced(wait bool) (path string, sure bool)
}

// Cred is an identity for DialAs: effective user and group, and no
// supplementary groups.
type Cred struct{ UID, GID uint32 }

// Node is a device node. Mode has fs.ModeDevice, fs.ModeCharDevice for a
// character device, and the permissions.
type Node struct {
	Path         string // where it was found, symbolic links resolved
	Mode         fs.FileMode
	Major, Minor uint32
	UID, GID     uint32
}
