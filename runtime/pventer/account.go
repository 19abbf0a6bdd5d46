package pventer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxPasswd    = 4 << 20
	maxEnviron   = 4 << 20
	defaultShell = "/bin/sh"
	defaultPath  = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// account is what a passwd file says about a user.
type account struct {
	shell string // "" when the container has neither that one nor /bin/sh
	home  string
	dir   string // home, if it is there
}

// rootOf is where a process's files are; 0 is this process's own.
func rootOf(pid int) string {
	if pid == 0 {
		return "/"
	}
	return "/proc/" + strconv.Itoa(pid) + "/root"
}

// lookUp reads the account from /etc/passwd below root. Links there are the
// container's and are followed inside it (openat2(2), RESOLVE_IN_ROOT). A user
// without an entry has /bin/sh.
func lookUp(root, user string) (account, error) {
	a := account{shell: defaultShell, home: "/", dir: "/"}
	r, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return a, fmt.Errorf("open its root: %w", err)
	}
	defer unix.Close(r)
	f, err := openIn(r, "etc/passwd", unix.O_RDONLY)
	if err == nil {
		b, err := io.ReadAll(io.LimitReader(f, maxPasswd))
		f.Close()
		if err != nil {
			return a, fmt.Errorf("read its passwd: %w", err)
		}
		a.parse(b, user)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return a, fmt.Errorf("open its passwd: %w", err)
	}
	if isThere(r, a.home, unix.O_PATH|unix.O_DIRECTORY) {
		a.dir = a.home
	}
	for _, a.shell = range []string{a.shell, defaultShell, ""} {
		if a.shell == "" || isThere(r, a.shell, unix.O_PATH) {
			break
		}
	}
	return a, nil
}

func isThere(root int, name string, flags int) bool {
	f, err := openIn(root, name, flags)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// openIn opens a path of the container's. Without waiting: a pipe in the place
// of a file has no one at its other end.
func openIn(root int, name string, flags int) (*os.File, error) {
	if flags&unix.O_PATH == 0 {
		flags |= unix.O_NONBLOCK
	}
	fd, err := unix.Openat2(root, "./"+name, &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// parse takes the user's line: name:password:uid:gid:comment:home:shell.
func (a *account) parse(passwd []byte, user string) {
	for line := range strings.Lines(string(passwd)) {
		f := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(f) < 7 || f[0] != user {
			continue
		}
		if path.IsAbs(f[5]) {
			a.home = path.Clean(f[5])
		}
		if path.IsAbs(f[6]) {
			a.shell = f[6]
		}
		return
	}
}

// containerEnv is the environment of the container's first process.
func containerEnv(pid int) []string {
	if pid == 0 {
		return nil
	}
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEnviron))
	if err != nil {
		return nil
	}
	var all []string
	for kv := range bytes.SplitSeq(b, []byte{0}) {
		if bytes.IndexByte(kv, '=') > 0 {
			all = append(all, string(kv))
		}
	}
	return all
}

// environment is the caller's, above it the container's, above that what login(1)
// sets. The caller's search paths are for programs of its own root.
func environment(caller, container []string, user string, a account) []string {
	vars := map[string]string{}
	var order []string
	set := func(kv string) {
		k, _, ok := strings.Cut(kv, "=")
		if !ok {
			return
		}
		if _, had := vars[k]; !had {
			order = append(order, k)
		}
		vars[k] = kv
	}
	set(defaultPath)
	for _, kv := range caller {
		if !strings.HasPrefix(kv, "PATH=") && !strings.HasPrefix(kv, "LD_") {
			set(kv)
		}
	}
	for _, kv := range container {
		set(kv)
	}
	for _, kv := range []string{"USER=" + user, "LOGNAME=" + user, "HOME=" + a.home} {
		set(kv)
	}
	if a.shell != "" {
		set("SHELL=" + a.shell)
	}
	all := make([]string, 0, len(order))
	for _, k := range order {
		if k != "SHLVL" {
			all = append(all, vars[k])
		}
	}
	return all
}
