// Package loop attaches files to loop devices and mounts them, as
// losetup(8) and mount(8) do: LOOP_CTL_GET_FREE, LOOP_CONFIGURE (Linux 5.8, or
// the two older calls), read-only and with autoclear, so that the device is
// free again as soon as nobody has it mounted, whatever becomes of us. The
// numbers are those of linux/loop.h.
package loop

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrUnavailable means that this machine gives us no loop devices.
var ErrUnavailable = errors.New("no loop device can be used")

// attempts bounds the race for a free device with other programs.
const attempts = 64

// Attach gives a file a loop device, read-only. The device is freed when the
// returned file is closed and nothing is mounted from it.
func Attach(image *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer control.Close()
	for range attempts {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("%w: ask for a free one: %w", ErrUnavailable, err)
		}
		dev, err := open(n)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		err = configure(dev, image)
		if err == nil {
			return dev, nil
		}
		dev.Close()
		if !errors.Is(err, unix.EBUSY) { // somebody else took it between the two calls
			return nil, fmt.Errorf("attach %s to /dev/loop%d: %w", image.Name(), n, err)
		}
	}
	return nil, fmt.Errorf("%w: others took each of %d free ones first", ErrUnavailable, attempts)
}

// open opens loop device n. In a container /dev is not the kernel's own, so the
// node may have to be made.
func open(n int) (*os.File, error) {
	name := "/dev/loop" + strconv.Itoa(n)
	f, err := os.OpenFile(name, os.O_RDONLY, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	if err := unix.Mknod(name, unix.S_IFBLK|0o660, int(unix.Mkdev(7, uint32(n)))); err != nil && err != unix.EEXIST {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	return os.OpenFile(name, os.O_RDONLY, 0)
}

func configure(dev, image *os.File) error {
	info := unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR}
	copy(info.File_name[:len(info.File_name)-1], image.Name())
	config := unix.LoopConfig{Fd: uint32(image.Fd()), Info: info}
	err := unix.IoctlLoopConfigure(int(dev.Fd()), &config)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTTY) {
		return err
	}
	if err := unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_SET_FD, int(image.Fd())); err != nil {
		return err
	}
	if err := unix.IoctlLoopSetStatus64(int(dev.Fd()), &info); err != nil {
		unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_CLR_FD, 0)
		return err
	}
	return nil
}

// Mount mounts a squashfs image at a directory, read-only. An error that is
// ErrUnavailable, or that says the kernel has no squashfs or refuses us
// (Refused), is a reason to take the image's files instead.
func Mount(image, at string) error {
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer f.Close()
	dev, err := Attach(f)
	if err != nil {
		return err
	}
	defer dev.Close()
	if err := unix.Mount(dev.Name(), at, "squashfs", unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mount %s (%s) at %s: %w", image, dev.Name(), at, err)
	}
	return nil
}

// Refused reports whether an error of Mount is about this machine and not about
// the image.
func Refused(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) ||
		errors.Is(err, unix.ENODEV) // the kernel does not know squashfs
}
