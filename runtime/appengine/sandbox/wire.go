package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
)

// How the runtime and the child talk: the runtime writes a job into a pipe,
// when namespaces, groups and network are there; the child answers on a socket
// that is closed on exec, so its end is the news that the container runs.
const (
	initName  = "pv-sandbox-init"  // argv[0] of the child that becomes a container
	enterName = "pv-sandbox-enter" // argv[0] of the child that joins one
	reportFD  = 3
	jobFD     = 4
)

// job is what the child does.
type job struct {
	Config    *lxcconf.Config
	Volumes   map[string]string
	Overlay   string
	Mounts    []lxcconf.Mount
	Env       []string
	Hostname  string
	Stage     string   // where the root is mounted before it is one
	Own       []string // namespaces that are the container's own
	Devices   []device // of mdev.json
	Rootless  bool
	MaxID     uint32 // highest user and group that the user namespace knows
	CgroupFS  bool   // there is a unified hierarchy to mount
	Exports   []string
	Hold      bool // wait for an answer before exec
	PidMax    int  // kernel.pid_max of the pid namespace, where there is no group to count processes
	ProcLimit int  // RLIMIT_NPROC, the same for a user namespace
}

// device is a node in the container's /dev.
type device struct {
	Name         string
	Block        bool
	Major, Minor uint32
	UID, GID     uint32
	Mode         uint32
}

// report is what the child says.
type report struct {
	Warning string `json:",omitempty"`
	Error   string `json:",omitempty"`
	Errno   int    `json:",omitempty"` // of Error, if a system call gave it
	Console bool   `json:",omitempty"` // a descriptor comes along
	Export  string `json:",omitempty"` // its mount comes along
	TTYs    int    `json:",omitempty"` // so many descriptors come along
	Ready   bool   `json:",omitempty"` // exec comes next, with Hold after an answer
}

// maxReport bounds a report; a message of the socket is never cut.
const maxReport = 16 << 10

// send is for the child.
func send(r report, fds ...int) error {
	const most = maxReport / 2
	r.Error, r.Warning = r.Error[:min(len(r.Error), most)], r.Warning[:min(len(r.Warning), most)]
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	return unix.Sendmsg(reportFD, data, rights, nil, unix.MSG_NOSIGNAL)
}

// receive returns the next report and the descriptors with it; ok is false at
// the end.
func receive(fd int) (r report, files []*os.File, ok bool, err error) {
	buf, oob := make([]byte, maxReport), make([]byte, unix.CmsgSpace(4*maxTTYs))
	var n, on int
	for {
		n, on, _, _, err = unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC)
		// ECONNRESET says once that the child went without reading our answer.
		// What it has sent before that is still to come.
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNRESET) {
			break
		}
	}
	if n == 0 && err == nil {
		return r, nil, false, nil
	}
	if err != nil {
		return r, nil, false, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:on])
	for _, m := range messages {
		fds, _ := unix.ParseUnixRights(&m)
		for _, f := range fds {
			unix.SetNonblock(f, true) // a file of the poller: Close ends a Read
			files = append(files, os.NewFile(uintptr(f), "pty"))
		}
	}
	if err == nil {
		err = json.Unmarshal(buf[:n], &r)
	}
	if err != nil {
		return r, files, false, fmt.Errorf("a report of the child: %w", err)
	}
	return r, files, true, nil
}

// maxTTYs is SCM_MAX_FD, the most descriptors in one message.
const maxTTYs = 253
