package devcgroup

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapName marks the map of our programs.
const mapName = "pvkit_devices"

// maxGrants is how many devices can be added to one group.
const maxGrants = 256

// ErrUnavailable means that this kernel, or our rights, allow no such programs.
var ErrUnavailable = errors.New("BPF programs for devices cannot be used here")

// Program is one of ours, in the kernel. It stays in effect for as long as the
// group that it is attached to exists, whether it is closed or not.
type Program struct {
	prog, grants int // descriptors; prog is -1 for one that [Find] found
}

type key struct{ kind, major, minor uint32 }

// Load gives the policy to the kernel. It takes effect with Attach.
func (p *Policy) Load() (*Program, error) {
	grants, err := createMap(mapName, 12, 4, maxGrants)
	if err != nil {
		return nil, fmt.Errorf("make the map of devices: %w", unavailable(err))
	}
	prog, err := loadProgram(mapName, p.assemble(grants))
	if err != nil {
		unix.Close(grants)
		return nil, fmt.Errorf("load the program for devices: %w", unavailable(err))
	}
	return &Program{prog, grants}, nil
}

// unavailable marks the errors of kernels without BPF for cgroups, and of
// processes without the right to use it.
func unavailable(err error) error {
	for _, e := range []error{unix.ENOSYS, unix.EPERM, unix.EINVAL, unix.EACCES} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return err
}

// Attach puts the program into effect for a group, which is given by its
// directory, and all below it. Programs of groups above or below are asked, too:
// one that forbids is enough.
func (p *Program) Attach(group *os.File) error {
	if err := attach(int(group.Fd()), p.prog); err != nil {
		return fmt.Errorf("limit the devices of %s: %w", group.Name(), err)
	}
	return nil
}

// Close gives back the descriptors.
func (p *Program) Close() error {
	var errs []error
	for _, fd := range []*int{&p.prog, &p.grants} {
		if *fd >= 0 {
			errs = append(errs, unix.Close(*fd))
			*fd = -1
		}
	}
	return errors.Join(errs...)
}

// Grant lets the group's processes have a device whatever the policy says, until
// revoke is called. What was granted before stays as it is, and stays when revoke
// is called.
func (p *Program) Grant(d Device, a Access) (revoke func() error, err error) {
	k := key{d.kind(), d.Major, d.Minor}
	switch err := insert(p.grants, &k, uint32(a)); {
	case errors.Is(err, unix.EEXIST):
		return func() error { return nil }, nil
	case errors.Is(err, unix.E2BIG):
		return nil, fmt.Errorf("grant %c %d:%d: %d devices are granted already", d.Kind, d.Major, d.Minor, maxGrants)
	case err != nil:
		return nil, fmt.Errorf("grant %c %d:%d: %w", d.Kind, d.Major, d.Minor, err)
	}
	return func() error {
		if err := remove(p.grants, &k); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("revoke %c %d:%d: %w", d.Kind, d.Major, d.Minor, err)
		}
		return nil
	}, nil
}

// Find gives the programs of ours, of whatever process, that are asked about a
// group's devices, and the number of those that are not ours. The caller closes
// them.
func Find(group *os.File) (ours []*Program, others int, err error) {
	ids, err := query(int(group.Fd()))
	if err != nil {
		return nil, 0, fmt.Errorf("look for the device programs of %s: %w", group.Name(), unavailable(err))
	}
	for _, id := range ids {
		grants, err := grantsOf(id)
		if errors.Is(err, unix.ENOENT) {
			continue // it is gone by now
		}
		if err != nil {
			for _, p := range ours {
				err = errors.Join(err, p.Close())
			}
			return nil, 0, fmt.Errorf("look at the device programs of %s: %w", group.Name(), unavailable(err))
		}
		if grants < 0 {
			others++
			continue
		}
		ours = append(ours, &Program{-1, grants})
	}
	return ours, others, nil
}

// grantsOf is the descriptor of a program's map, -1 if it has none of ours.
func grantsOf(prog uint32) (int, error) {
	fd, err := byID(unix.BPF_PROG_GET_FD_BY_ID, prog)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	ids, err := mapsOf(fd)
	if err != nil {
		return -1, err
	}
	for _, id := range ids {
		m, err := byID(unix.BPF_MAP_GET_FD_BY_ID, id)
		if err != nil {
			return -1, err
		}
		info, err := mapInfo(m)
		if err == nil && info.kind == unix.BPF_MAP_TYPE_HASH && info.keySize == 12 && info.valueSize == 4 && unix.ByteSliceToString(info.name[:]) == mapName {
			return m, nil
		}
		unix.Close(m)
		if err != nil {
			return -1, err
		}
	}
	return -1, nil
}
