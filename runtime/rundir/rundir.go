// Package rundir knows the file in which the runtime tells the programs of its
// own machine what runs: [File], one small JSON document beside the pv-ctrl
// socket. pv-ctrl itself says nothing about processes; lxc-ls, lxc-info and
// pventer need the process, its state and its cgroup, and read them here.
//
//	{"version":1,"containers":[
//	  {"name":"app","status":"STARTED","pid":412,"start_time":88123,"cgroup":"/pantavisor/lxc/app/init","group":"app"}]}
//
// The runtime writes it whenever a status or a pid changes; the file is replaced
// as a whole, so a reader sees the old list or the new one. A pid in
// the file may be of a process that has ended since: [Container.Alive] tells.
package rundir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Default is the run directory of an appengine (PV_SYSTEM_RUNDIR).
const Default = "/run/pantavisor/pv"

// File is the document's name in the run directory.
const File = "containers.json"

const (
	version  = 1
	maxBytes = 4 << 20 // a reader's limit: some ten thousand containers
)

// ErrNoRuntime is a run directory without the document: no runtime that writes
// one has started there.
var ErrNoRuntime = errors.New("no runtime has told there what runs: is one up? PV_SYSTEM_RUNDIR names another directory")

// Container is what runs, or could, under a name.
type Container struct {
	Name   string        `json:"name"`
	Status pvctrl.Status `json:"status"`
	// PID is the first process as the writer sees it; 0: there is none.
	PID int `json:"pid"`
	// StartTime is field 22 of /proc/<pid>/stat, which tells the process from a
	// later one with the same pid. Write fills it in where it is 0.
	StartTime uint64 `json:"start_time,omitempty"`
	CGroup    string `json:"cgroup,omitempty"` // as in /proc/<pid>/cgroup
	Group     string `json:"group,omitempty"`  // the group of the state, "" for none
	Autostart bool   `json:"autostart,omitempty"`
	// Unprivileged: the container has a user namespace of its own.
	Unprivileged bool `json:"unprivileged,omitempty"`
}

type document struct {
	Version    int         `json:"version"`
	Containers []Container `json:"containers"`
}

// Encode makes the document. The order of the containers is kept. The file may
// be read by everyone, as the API that tells the names may not: it has no secret
// but the names.
func Encode(containers []Container) ([]byte, error) {
	doc := document{Version: version, Containers: make([]Container, len(containers))}
	copy(doc.Containers, containers)
	for i := range doc.Containers {
		c := &doc.Containers[i]
		if c.PID > 0 && c.StartTime == 0 {
			// A process that is gone already has no time: the reader sees that too.
			c.StartTime, _ = startTime(c.PID)
		}
	}
	b, err := json.Marshal(doc)
	return append(b, '\n'), err
}

// Write replaces the document in the run directory, which must exist.
func Write(dir string, containers []Container) error {
	b, err := Encode(containers)
	if err != nil {
		return fmt.Errorf("write the list of containers: %w", err)
	}
	return atomicfile.WriteFile(filepath.Join(dir, File), b, 0o644)
}

// Read gives the containers in the order of the state. Without a document the
// error is [ErrNoRuntime].
func Read(dir string) ([]Container, error) {
	name := filepath.Join(dir, File)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", name, ErrNoRuntime)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := Decode(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return list, nil
}

// Decode reads the document. Unknown keys are for later versions; another
// version number is refused.
func Decode(r io.Reader) ([]Container, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxBytes {
		return nil, fmt.Errorf("it is larger than %d bytes", maxBytes)
	}
	var doc document
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	if doc.Version != version {
		return nil, fmt.Errorf("its version is %d, and this program knows %d", doc.Version, version)
	}
	for i, c := range doc.Containers {
		if c.Name == "" || c.PID < 0 || strings.ContainsFunc(c.Name, func(r rune) bool { return r < ' ' }) {
			return nil, fmt.Errorf("entry %d is no container: name %q, pid %d", i, c.Name, c.PID)
		}
	}
	return doc.Containers, nil
}

// Alive tells whether the process is still the one that was written down.
func (c Container) Alive() bool {
	if c.PID <= 0 {
		return false
	}
	t, err := startTime(c.PID)
	return err == nil && (c.StartTime == 0 || t == c.StartTime)
}

// Find gives the container with the name.
func Find(list []Container, name string) (Container, bool) {
	for _, c := range list {
		if c.Name == name {
			return c, true
		}
	}
	return Container{}, false
}

// startTime reads field 22 of /proc/<pid>/stat (proc_pid_stat(5)). A zombie
// counts as ended. The name in field 2 may contain anything, also parentheses.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	end := bytes.LastIndexByte(b, ')')
	fields := strings.Fields(string(b[end+1:])) // from field 3 on
	if end < 0 || len(fields) < 20 {
		return 0, fmt.Errorf("process %d: its stat has %d fields", pid, len(fields))
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, fmt.Errorf("process %d: it has ended", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// UserState is the directory for what programs of a user keep
// ($XDG_STATE_HOME, or ~/.local/state, of the XDG Base Directory
// Specification). It reports false without a home directory.
func UserState(getenv func(string) string) (dir string, ok bool) {
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return dir, true
	}
	home := getenv("HOME")
	return filepath.Join(home, ".local", "state"), filepath.IsAbs(home)
}

// Dir says where the runtime of this machine keeps its run directory: where
// PV_SYSTEM_RUNDIR says, in the appengine's usual place, or below the user's
// state, where pv-appengine puts it for want of settings
// ($XDG_STATE_HOME/pv-appengine/run/pv), and pvkit up (pvkit/up/run/pv). Of
// these the first that has the document; where none has it, the first.
func Dir(getenv func(string) string) string {
	places := []string{Default}
	if state, ok := UserState(getenv); ok {
		places = append(places, filepath.Join(state, "pv-appengine", "run", "pv"), filepath.Join(state, "pvkit", "up", "run", "pv"))
	}
	if dir := getenv("PV_SYSTEM_RUNDIR"); dir != "" {
		places = []string{dir}
	}
	for _, dir := range places {
		if _, err := os.Stat(filepath.Join(dir, File)); err == nil {
			return dir
		}
	}
	return places[0]
}
