package network

import (
	"errors"
	"fmt"
)

// Why a pool or a container is refused. Match with errors.Is.
var (
	ErrBadPool       = errors.New("the pool cannot be used")
	ErrOverlap       = errors.New("the subnets overlap")
	ErrUnknownPool   = errors.New("unknown pool")
	ErrOutsideSubnet = errors.New("outside the subnet")
	ErrReserved      = errors.New("not an address for a container")
	ErrCollision     = errors.New("already in use")
	ErrPoolFull      = errors.New("the pool is full")
	ErrConflict      = errors.New("a pool and lxc.net.* exclude each other")
	ErrBadConfig     = errors.New("the network configuration is wrong")
	ErrUnknown       = errors.New("the plan has no such container")
	ErrSharedNetNS   = errors.New("the process is in the host's network namespace")
)

// Refusal says why a container or, with Container empty, a pool cannot be
// served.
type Refusal struct {
	Container string
	Pool      string
	Other     string // the container or pool that stands in the way, if one does
	Err       error  // the sentence; it wraps one of the errors above
}

func (r *Refusal) Error() string {
	if r.Container == "" {
		return fmt.Sprintf("pool %q: %v", r.Pool, r.Err)
	}
	return fmt.Sprintf("container %q: %v", r.Container, r.Err)
}

func (r *Refusal) Unwrap() error { return r.Err }

// reasonf makes an error that reads as its format says and is also what kind is.
func reasonf(kind error, format string, args ...any) error {
	return &reason{text: fmt.Sprintf(format, args...), kind: kind}
}

type reason struct {
	text string
	kind error
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.kind }
