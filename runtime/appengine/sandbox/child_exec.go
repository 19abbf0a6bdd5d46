package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/machine"
)

// identity gives the container its name, its loopback and its kernel settings.
func (c *child) identity() error {
	if c.owns("uts") {
		if err := unix.Sethostname([]byte(c.Hostname)); err != nil {
			return fmt.Errorf("set the hostname %q: %w", c.Hostname, err)
		}
	}
	if c.owns("net") {
		if err := loopbackUp(); err != nil {
			c.warn("the loopback interface is down: %v", err)
		}
	}
	for _, s := range c.Config.Sysctl {
		name := "/proc/sys/" + strings.ReplaceAll(s.Key, ".", "/")
		if strings.Contains(s.Key, "..") {
			return fmt.Errorf("lxc.sysctl.%s: it is no name of a setting", s.Key)
		}
		if err := os.WriteFile(name, []byte(s.Value), 0); err != nil {
			return fmt.Errorf("lxc.sysctl.%s: %w", s.Key, err)
		}
	}
	return nil
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req)
}

// privileges takes away what the container is not to have.
func (c *child) privileges() error {
	// The runtime's keys stay its own (keyctl(2)); some kernels have no keys.
	unix.KeyctlJoinSessionKeyring("")
	if err := c.limits(); err != nil {
		return err
	}
	if err := dropBounding(dropped(c.Config.Caps)); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if err := c.user(); err != nil {
		return err
	}
	if err := setCaps(c.Config.Caps); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if c.Config.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	// Changing the user has undone it.
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}

func (c *child) limits() error {
	for _, l := range c.Config.Rlimits {
		// The syscall package's own: it knows that NOFILE is not to be put back.
		if err := syscall.Setrlimit(l.Resource, &syscall.Rlimit{Cur: l.Soft, Max: l.Hard}); err != nil {
			return fmt.Errorf("lxc.prlimit.%s of line %d: %w", l.Name, l.Line, err)
		}
	}
	if n := uint64(c.ProcLimit); n > 0 && !slices.ContainsFunc(c.Config.Rlimits, func(l lxcconf.Rlimit) bool { return l.Name == "nproc" }) {
		if err := syscall.Setrlimit(unix.RLIMIT_NPROC, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			c.warn("the number of processes is not limited: %v", err)
		}
	}
	return nil
}

// user changes to lxc.init.uid and gid.
func (c *child) user() error {
	init := c.Config.Init
	for _, id := range append([]uint32{init.UID, init.GID}, init.Groups...) {
		if id > c.MaxID {
			return fmt.Errorf("user or group %d: this user namespace knows none above %d", id, c.MaxID)
		}
	}
	if c.Rootless && c.MaxID == 0 {
		return nil // there is only one user to be, and setgroups is forbidden
	}
	groups := make([]int, len(init.Groups))
	for i, g := range init.Groups {
		groups[i] = int(g)
	}
	uid, gid := int(init.UID), int(init.GID)
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("set the groups: %w", err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("become group %d: %w", gid, err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	return nil
}

// dropped are the capabilities that the container does not have, as a mask.
func dropped(caps lxcconf.Caps) uint64 {
	var mask uint64
	if caps.Keeps {
		mask = ^uint64(0)
		for _, n := range lxcconf.Numbers(caps.Keep) {
			mask &^= 1 << n
		}
	}
	for _, n := range lxcconf.Numbers(caps.Drop) {
		mask |= 1 << n
	}
	return mask
}

// dropBounding takes capabilities from the bounding set, which limits what a
// program can ever get. It asks the kernel where they end and not /proc, which
// may be a container's.
func dropBounding(mask uint64) error {
	for n := range uintptr(64) {
		if mask&(1<<n) == 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, n, 0, 0, 0)
		if err == unix.EINVAL {
			break // the kernel knows no capability from here on
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setCaps takes them from the other sets: ambient, inheritable, permitted.
func setCaps(caps lxcconf.Caps) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && err != unix.EINVAL {
		return err
	}
	mask := dropped(caps)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	for i := range data {
		keep := ^uint32(mask >> (32 * i))
		data[i].Effective &= keep
		data[i].Permitted &= keep
		data[i].Inheritable = 0 // as after a login: root's programs get the bounding set
	}
	return unix.Capset(&header, &data[0])
}

// exec becomes the container's program. It only returns with an error.
func (c *child) exec() error {
	init := c.Config.Init
	if err := os.Chdir(init.Dir); err != nil {
		return fmt.Errorf("lxc.init.cwd: %w", err)
	}
	if dir, err := unix.Getwd(); err != nil || !path.IsAbs(dir) {
		return fmt.Errorf("lxc.init.cwd: %s is outside the container's root", init.Dir)
	}
	program, err := findProgram(init.Args[0], c.Env)
	if err != nil {
		return fmt.Errorf("start %s: %w", init.Args[0], err)
	}
	unix.Umask(0o022)
	if err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close descriptors: %w", err)
	}
	if err := send(report{Ready: true}); err != nil {
		return errors.New("the runtime is gone")
	}
	if c.Hold {
		if n, err := unix.Read(reportFD, make([]byte, 1)); err != nil || n != 1 {
			return errors.New("the runtime is gone")
		}
	}
	err = syscall.Exec(program, init.Args, c.Env)
	return fmt.Errorf("start %s: %w", program, explainExec(program, err))
}

// findProgram finds a name without a slash as execvp(3) does.
func findProgram(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	dirs := machine.SearchPath(env)
	for dir := range strings.SplitSeq(dirs, ":") {
		full := path.Join("/", dir, name)
		if st, err := os.Stat(full); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("it is in no directory of PATH (%s): %w", dirs, fs.ErrNotExist)
}

// explainExec says what execve(2) does not: which file is missing.
func explainExec(program string, err error) error {
	st, serr := os.Stat(program)
	switch {
	case err == unix.ENOENT && serr == nil:
		for i := program; i != ""; {
			next := interpreter(i) // a script's shell needs a loader itself
			if _, serr := os.Stat(next); next != "" && serr != nil {
				return fmt.Errorf("%s needs %s, which the image does not have: %w", i, next, err)
			}
			if i = next; i == program {
				break
			}
		}
	case err == unix.EACCES && serr == nil && st.Mode().IsRegular() && st.Mode()&0o111 == 0:
		return fmt.Errorf("its mode %#o has no x: %w", st.Mode().Perm(), err)
	case err == unix.EACCES && serr == nil && st.IsDir():
		return fmt.Errorf("it is a directory: %w", err)
	case err == unix.ENOEXEC:
		p, ferr := machine.Find(os.DirFS("/"), program, nil)
		if arch := p.Arch(); ferr == nil && arch != "" {
			what := "it"
			if "/"+p.Path != program {
				what = "/" + p.Path + ", which runs it,"
			}
			return fmt.Errorf("%s is for %s, and this machine is %s: %w", what, arch, machine.Host(), err)
		}
		return fmt.Errorf("it is no program for this machine, and no script that starts with \"#!\": %w", err)
	}
	return err
}
