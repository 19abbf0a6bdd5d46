// Package devcgroup limits the devices of a cgroup v2, which has no files for
// that: the kernel asks a BPF program of type BPF_PROG_TYPE_CGROUP_DEVICE
// (Documentation/admin-guide/cgroup-v2.rst, "Device controller"). A [Policy] is
// made from the lines that cgroup v1 takes in devices.allow and devices.deny,
// and becomes such a program.
//
// The program first looks into a hash map, which begins empty: another process
// with the right to do so finds it with [Find] through the group, and [Program.Grant]
// adds a device while the program runs.
package devcgroup

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Access is what may be done with a device, as bits.
type Access uint32

// The bits of struct bpf_cgroup_dev_ctx (include/uapi/linux/bpf.h).
const (
	Mknod Access = unix.BPF_DEVCG_ACC_MKNOD
	Read  Access = unix.BPF_DEVCG_ACC_READ
	Write Access = unix.BPF_DEVCG_ACC_WRITE

	everything = Mknod | Read | Write
)

// Device is one device. Its kind is 'b' or 'c'.
type Device struct {
	Kind         byte
	Major, Minor uint32
}

// every stands for all major or minor numbers.
const every = math.MaxUint32

// exception is a device, or many, for which the policy's default does not hold.
type exception struct {
	Device
	access Access
}

// Policy is a default and what differs from it.
type Policy struct {
	allow      bool
	exceptions []exception
}

// maxExceptions keeps a program below the 4096 instructions that every kernel takes.
const maxExceptions = 256

// ErrRule is a line that no device cgroup takes.
var ErrRule = errors.New(`want "a", or "b" or "c" with MAJOR:MINOR (numbers or "*") and some of "rwm"`)

// New is a policy that allows every device, or none.
func New(allow bool) *Policy { return &Policy{allow: allow} }

// Set changes the policy as a line written to devices.allow or devices.deny
// does (Documentation/admin-guide/cgroup-v1/devices.rst): "a" is a new default,
// any other line adds to the exceptions or takes out of them.
func (p *Policy) Set(allow bool, line string) error {
	f := strings.Fields(line)
	if len(f) > 0 && f[0] == "a" {
		p.allow, p.exceptions = allow, nil
		return nil
	}
	e, err := parse(f)
	if err != nil {
		return fmt.Errorf("device rule %q: %w", line, err)
	}
	i := slices.IndexFunc(p.exceptions, func(x exception) bool { return x.Device == e.Device })
	switch {
	case allow != p.allow && i >= 0:
		p.exceptions[i].access |= e.access
	case allow != p.allow && len(p.exceptions) == maxExceptions:
		return fmt.Errorf("device rule %q: there are %d already", line, maxExceptions)
	case allow != p.allow:
		p.exceptions = append(p.exceptions, e)
	case i >= 0:
		if p.exceptions[i].access &^= e.access; p.exceptions[i].access == 0 {
			p.exceptions = slices.Delete(p.exceptions, i, i+1)
		}
	}
	return nil
}

// All says that nothing is forbidden.
func (p *Policy) All() bool { return p.allow && len(p.exceptions) == 0 }

func parse(f []string) (exception, error) {
	if len(f) != 3 || f[0] != "b" && f[0] != "c" {
		return exception{}, ErrRule
	}
	e := exception{Device: Device{Kind: f[0][0]}}
	major, minor, ok := strings.Cut(f[1], ":")
	if !ok {
		return exception{}, ErrRule
	}
	for to, text := range map[*uint32]string{&e.Major: major, &e.Minor: minor} {
		if text == "*" {
			*to = every
			continue
		}
		n, err := strconv.ParseUint(text, 10, 31) // the kernel's numbers have 12 and 20 bits
		if err != nil {
			return exception{}, ErrRule
		}
		*to = uint32(n)
	}
	for _, r := range f[2] {
		bit, ok := map[rune]Access{'r': Read, 'w': Write, 'm': Mknod}[r]
		if !ok {
			return exception{}, ErrRule
		}
		e.access |= bit
	}
	return e, nil
}

func (d Device) kind() uint32 {
	if d.Kind == 'b' {
		return unix.BPF_DEVCG_DEV_BLOCK
	}
	return unix.BPF_DEVCG_DEV_CHAR
}
