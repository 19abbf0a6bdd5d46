package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// sealedCopy copies a program into sealed memory, this process's own if name is
// "". A container that gets hold of /proc/PID/exe while its first process is
// still ours then holds something that nobody can write to, instead of the
// runtime's file. Where the kernel does not let programs run from memory, it is
// the file.
func sealedCopy(name string) (_ *os.File, err error) {
	if name == "" {
		name = "/proc/self/exe"
	}
	src, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("pv-sandbox", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 every one may be executed
		fd, err = unix.MemfdCreate("pv-sandbox", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return src, nil
	}
	defer src.Close()
	f := os.NewFile(uintptr(fd), "pv-sandbox")
	if _, err := io.Copy(f, src); err != nil {
		f.Close()
		return nil, fmt.Errorf("copy %s into memory: %w", name, err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal the copy of %s: %w", name, err)
	}
	return f, nil
}

func isSealed(f *os.File) bool {
	got, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	return err == nil && got&seals == seals
}
