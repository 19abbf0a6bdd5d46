package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/inroot"
)

// Child takes over in a process that Start or Enter has made, and then does not
// return. It comes first in main, and in the TestMain of tests that start
// containers.
func Child() {
	if !isChild() {
		return
	}
	// What comes belongs to one thread, which executes the program at the end.
	runtime.LockOSThread()
	// Nobody who may see this process gets at its memory or its descriptors.
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	if os.Args[0] == enterName {
		os.Exit(enterChild())
	}
	c := &child{}
	err := c.run()
	errno, _ := errors.AsType[unix.Errno](err)
	send(report{Error: err.Error(), Errno: int(errno)}) // run only returns with an error
	os.Exit(1)
}

func isChild() bool {
	return len(os.Args) > 0 && (os.Args[0] == initName || os.Args[0] == enterName)
}

// errNoChild ends what would otherwise go round: a program that starts itself
// as a child, does not notice, and starts itself again.
var errNoChild = errors.New("this process is a child of the sandbox and does not know: its main must begin with sandbox.Child()")

// child is the process that becomes a container's first. It is in the new
// namespaces already, but still has the host's root.
type child struct {
	job
	root    *inroot.Root // what becomes the root
	rootDev uint64       // of our own /dev, 0 without
	pts     int          // the container's devpts, -1 without
}

// run only returns when something fails.
func (c *child) run() error {
	in := os.NewFile(jobFD, "job")
	data, err := io.ReadAll(in)
	if err != nil || len(data) == 0 {
		return errors.New("the runtime is gone")
	}
	if err := json.Unmarshal(data, &c.job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	in.Close()
	for _, s := range []struct {
		what string
		do   func() error
	}{
		{"end with the runtime", c.tie},
		{"join namespaces", c.namespaces},
		{"limit the number of processes", c.limitPids},
		{"", c.mountRoot},
		{"", c.mountDev},
		{"", c.mountAuto},
		{"", c.mountEntries},
		{"", c.mountCgroup},
		{"", c.fillDev},
		{"", c.export},
		{"set up the console", c.setUpConsole},
		{"change to the new root", c.pivot},
		{"", c.identity},
		{"", c.privileges},
	} {
		if err := s.do(); err != nil {
			if s.what != "" {
				err = fmt.Errorf("%s: %w", s.what, err)
			}
			return err
		}
	}
	return c.exec()
}

// tie makes the kernel end this process when the runtime ends, and cuts it off
// from the runtime's terminal (setsid(2)).
func (c *child) tie() error {
	unix.Umask(0)
	unix.Setsid()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	return unix.CloseRange(jobFD+1, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC)
}

func (c *child) owns(namespace string) bool {
	for _, n := range c.Own {
		if n == namespace {
			return true
		}
	}
	return false
}

// namespaces makes the one that clone could not make right: the root of a cgroup
// namespace is the group its maker is in.
func (c *child) namespaces() error {
	if c.owns("cgroup") {
		if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	return nil
}

func (c *child) warn(format string, args ...any) {
	send(report{Warning: fmt.Sprintf(format, args...)})
}
