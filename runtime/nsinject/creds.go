package nsinject

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

// owner is who root of the container is outside of it. In a user namespace it
// is not 0, and files must be made by that owner: the filesystems mounted there
// have no number for ours.
type owner struct{ uid, gid uint32 }

func ownerOf(proc string) (owner, error) {
	u, err := rootIn(proc + "/uid_map")
	if err != nil {
		return owner{}, err
	}
	g, err := rootIn(proc + "/gid_map")
	return owner{u, g}, err
}

// rootIn finds where 0 maps to: user_namespaces(7).
func rootIn(file string) (uint32, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		w := strings.Fields(sc.Text())
		if len(w) == 3 && w[0] == "0" {
			n, err := strconv.ParseUint(w[1], 10, 32)
			return uint32(n), err
		}
	}
	return 0, errors.Join(sc.Err(), fmt.Errorf("%s has no root", file))
}

// do runs f as the container's root as far as files are concerned.
func (h *handle) do(f func() error) error {
	if h.owner == (owner{}) {
		return f()
	}
	return onThread(func() error {
		// setfsuid(2) returns the old id, never an error: ask again to know.
		unix.RawSyscall(sysSetfsgid, uintptr(h.owner.gid), 0, 0)
		unix.RawSyscall(sysSetfsuid, uintptr(h.owner.uid), 0, 0)
		was, _, _ := unix.RawSyscall(sysSetfsuid, ^uintptr(0), 0, 0)
		if uint32(was) != h.owner.uid {
			return fmt.Errorf("act as user %d: %w", h.owner.uid, unix.EPERM)
		}
		return f()
	})
}

// withCred runs f with the effective identity; SO_PEERCRED of a connection that
// f makes shows it.
func withCred(as xconnect.Cred, f func() error) error {
	if uid := os.Geteuid(); uid != 0 && uint32(uid) == as.UID && uint32(os.Getegid()) == as.GID {
		return f() // a user's own containers: it is who we are, and we may be nobody else
	}
	keep := ^uintptr(0)
	return onThread(func() error {
		for _, c := range []struct {
			name          string
			trap, a, b, c uintptr
		}{
			{"setgroups", sysSetgroups, 0, 0, 0},
			{"setresgid", sysSetresgid, keep, uintptr(as.GID), keep},
			{"setresuid", sysSetresuid, keep, uintptr(as.UID), keep},
		} {
			if _, _, e := unix.RawSyscall(c.trap, c.a, c.b, c.c); e != 0 {
				return fmt.Errorf("act as user %d, group %d: %w", as.UID, as.GID, os.NewSyscallError(c.name, e))
			}
		}
		return f()
	})
}

// onThread runs f on a thread of its own, which ends with it, so that what f
// changes about the thread is never seen by anything else. The process's first
// thread does not end, so it is not used.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f) // this one is held meanwhile, the next is another
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}
