package ctrl

import (
	"context"
	"io"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Backend is what answers. Every field is needed.
//
// The methods are called from many goroutines at once, one for each connection.
// Their context ends when the server stops, not when the client goes. An error
// that is, or wraps, one of this package's becomes the documented reply; any
// other one is logged and becomes the endpoint's 500.
type Backend struct {
	Containers Containers
	Groups     Groups
	Signals    Signals
	Objects    Objects
	Steps      Steps
	UserMeta   Meta
	DeviceMeta Meta
	Drivers    Drivers
	Commands   Commands
	Settings   Settings
	Graph      Graph
	Daemons    Daemons
	GC         GC
	BuildInfo  BuildInfo
	Wakelocks  Wakelocks
}

// Action is what PUT /containers/{name} and PUT /daemons/{name} ask for.
type Action string

// The actions. Daemons know no restart.
const (
	Start   Action = "start"
	Stop    Action = "stop"
	Restart Action = "restart"
)

// Containers answers for the containers of the running state.
type Containers interface {
	// Containers lists them in the order of the state. [ErrNoState] while no
	// state is loaded.
	Containers(ctx context.Context) ([]pvctrl.Container, error)
	// ContainerAction accepts the action and returns; the container moves
	// later. The server has checked that the container is listed and that its
	// restart policy is "container"; both may have changed since:
	// [ErrNotFound], [ErrSystemPolicy]. [ErrCannotStart] and [ErrCannotRestart]
	// when the status does not allow the action.
	ContainerAction(ctx context.Context, name string, a Action) error
	// Mgmt tells whether the container has the role mgmt, and whether the
	// running state has a container of that name at all. It is asked with
	// every request, so it must not wait for work in progress.
	Mgmt(name string) (mgmt, known bool)
}

// Groups answers for the groups of the running state.
type Groups interface {
	// Groups lists them in order. [ErrNoState] while no state is loaded.
	Groups(ctx context.Context) ([]pvctrl.Group, error)
}

// Signals takes what containers tell about themselves.
type Signals interface {
	// Signal is POST /signal from the container, or from [pvctrl.HostName].
	// [ErrUnexpectedSignal] for all but "ready" of a container whose goal is
	// READY; [ErrNoState] while no state is loaded.
	Signal(ctx context.Context, caller string, s pvctrl.Signal) error
}

// Objects is the store of objects, by digest. The server passes only names of
// 64 lower-case hexadecimal digits.
type Objects interface {
	// Objects lists what is stored.
	Objects(ctx context.Context) ([]pvctrl.Object, error)
	// OpenObject opens one to be read from its start. [ErrNotFound] when it is
	// not stored.
	OpenObject(ctx context.Context, sha256 string) (io.ReadCloser, error)
	// PutObject stores the bytes of r, which are size bytes (-1: not known
	// before). An object that is stored already and sound need not be read
	// from r. [ErrBadObject] when the digest is another one, [ErrNoSpace]. An
	// error of r must be returned (wrapped or not), and nothing be stored.
	PutObject(ctx context.Context, sha256 string, size int64, r io.Reader) error
}

// Steps is the store of revisions. A revision is "0", "current", or "locals/"
// and a name; the server passes no "." or "..".
type Steps interface {
	// Steps lists the revisions: plain ones ascending, then local ones.
	Steps(ctx context.Context) ([]pvctrl.Step, error)
	// Step gives the state as it was stored. [ErrNotFound].
	Step(ctx context.Context, rev string) ([]byte, error)
	// PutStep stores, or replaces, the state of a local revision.
	// A [*StateError] when it is refused, [ErrNoSpace].
	PutStep(ctx context.Context, rev string, state []byte) error
	// StepProgress gives the progress document as it was stored. [ErrNotFound].
	StepProgress(ctx context.Context, rev string) ([]byte, error)
	// PutCommitMsg stores the message, 1 to 256 bytes, of a revision, which
	// need not exist. [ErrNoSpace].
	PutCommitMsg(ctx context.Context, rev, msg string) error
}

// Meta is the user's or the device's metadata.
type Meta interface {
	// Meta lists the entries, the newest key first; a new value does not move
	// a key.
	Meta(ctx context.Context) ([]pvctrl.MetaEntry, error)
	// PutMeta sets a value of 1 to 4096 bytes. [ErrNoSpace]. The key is a path
	// segment: 1 to 255 bytes without "/", not "." and not "..".
	PutMeta(ctx context.Context, key, value string) error
	// DeleteMeta takes a key away. [ErrNotFound].
	DeleteMeta(ctx context.Context, key string) error
}

// Drivers answers for the drivers that a container's state refers to.
type Drivers interface {
	// Drivers lists those of the caller; nil is written as {}: the host, or a
	// container without drivers.
	Drivers(ctx context.Context, caller string) ([]pvctrl.Driver, error)
	// LoadDrivers loads the caller's manual drivers, or the one that is named.
	// [ErrDrivers], [ErrDriver].
	LoadDrivers(ctx context.Context, caller, name string) error
	// UnloadDrivers is its opposite.
	UnloadDrivers(ctx context.Context, caller, name string) error
}

// Commands takes what POST /commands asks for; the operation is one of the
// documented ones.
type Commands interface {
	// Command accepts the command and returns. One of the rejections
	// ([ErrLocalMode] to [ErrCommandBusy]) when it is not accepted.
	Command(ctx context.Context, c pvctrl.Command) error
}

// Settings shows the configuration in effect.
type Settings interface {
	// Aliases lists the settings that have a legacy name, in the order of the
	// table: GET /config.
	Aliases(ctx context.Context) ([]pvctrl.Alias, error)
	// Settings lists all of them: GET /config2.
	Settings(ctx context.Context) ([]pvctrl.Setting, error)
}

// Graph is the service graph.
type Graph interface {
	// Links computes it. [ErrNoState] while no state is loaded. It must see
	// all that had happened when a channel of GraphChanged was closed.
	Links(ctx context.Context) ([]pvctrl.Link, error)
	// GraphChanged gives a channel that is closed when the graph changes for
	// the first time after the call.
	GraphChanged() <-chan struct{}
}

// Daemons supervises the runtime's own daemons.
type Daemons interface {
	// Daemons lists them in the order of their table.
	Daemons(ctx context.Context) ([]pvctrl.Daemon, error)
	// DaemonAction is a Start or a Stop. It does not wait for it to take
	// effect. [ErrNotFound].
	DaemonAction(ctx context.Context, name string, a Action) error
}

// GC collects what no revision needs.
type GC interface {
	// CollectGarbage does it and tells how many bytes are free again.
	CollectGarbage(ctx context.Context) (reclaimed int64, err error)
}

// BuildInfo is the text of the runtime's build, at most 64 KiB, often empty.
type BuildInfo interface {
	BuildInfo() []byte
}

// Wakelocks tells what keeps the device awake.
type Wakelocks interface {
	Wakelocks(ctx context.Context) (pvctrl.Wakelocks, error)
}
