package appengine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pvkit/pvkit/runtime/rundir"
)

// runDir is what containers and tools see of the runtime (pantavisor's
// paths.h): the sockets, the metadata as files, a few facts. It is made anew at
// every start. A metadata key a.b is two files, user-meta/a.b and
// user-meta.a/b, so that container a can be shown its own with one mount.
//
// logs is an empty directory there: the storage has the logs, and a container
// gets them mounted. No mount is made outside containers.
type runDir struct {
	dir string
	mu  sync.Mutex // guards the files of metadata and hosts
}

// The names below the run directory.
const (
	ctrlSocket = "pv-ctrl"
	logSocket  = "pv-ctrl-log"
	fdSocket   = "pv-fd-log"
	userMeta   = "user-meta"
	deviceMeta = "device-meta"
	runLogs    = "logs"
	workDir    = ".work"            // ours, with the next three below it
	fileDir    = workDir + "/files" // files that are about to get their place
	hostsDir   = workDir + "/hosts" // an /etc/hosts for each container of a pool
	sandboxDir = workDir + "/sandbox"
)

// newRunDir makes the directory and removes what an earlier run left in it.
func newRunDir(dir string) (*runDir, error) {
	r := &runDir{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the run directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("make the run directory: %w", err)
	}
	for _, e := range entries {
		if !ours(e.Name()) {
			return nil, fmt.Errorf("run directory %s: it holds %s, which is not ours: use an empty directory", dir, e.Name())
		}
	}
	stale := []string{fileDir}
	for _, e := range entries {
		if e.Name() != workDir { // it may have mounts of a runtime that was killed; the sandbox knows them
			stale = append(stale, e.Name())
		}
	}
	for _, name := range stale {
		if err := os.RemoveAll(r.path(name)); err != nil {
			return nil, fmt.Errorf("clean the run directory: %w", err)
		}
	}
	for name, mode := range map[string]fs.FileMode{
		userMeta: 0o755, deviceMeta: 0o755, runLogs: 0o755, "phconfig": 0o755, workDir: 0o711, fileDir: 0o700, hostsDir: 0o755,
	} {
		if err := os.MkdirAll(r.path(name), mode); err != nil {
			return nil, fmt.Errorf("make the run directory: %w", err)
		}
	}
	return r, nil
}

// ours tells the names that a runtime gives to what it puts into a run
// directory, so that a mistyped one is not emptied.
func ours(name string) bool {
	switch name {
	case ctrlSocket, logSocket, fdSocket, "challenge", "device-id", "pantahub-host", "phconfig",
		runLogs, userMeta, deviceMeta, workDir, rundir.File, "pv-xconnect.sock":
		return true
	}
	for _, prefix := range []string{
		userMeta + ".", deviceMeta + ".",
		"." + ctrlSocket + ".", "." + rundir.File + ".", // about to be that, when the runtime was killed
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func (r *runDir) path(name ...string) string {
	return filepath.Join(append([]string{r.dir}, name...)...)
}

// facts writes the files about the hub. The appengine is not claimed, so the
// challenge and the device's id are empty.
func (r *runDir) facts(host string, port int) error {
	for name, text := range map[string]string{
		"challenge": "", "device-id": "", "pantahub-host": fmt.Sprintf("https://%s:%d\n", host, port),
	} {
		if err := r.write(name, []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// container makes the metadata directories that a container is shown.
func (r *runDir) container(name string) error {
	for _, kind := range []string{userMeta, deviceMeta} {
		if err := os.MkdirAll(r.path(kind+"."+name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// split gives the second place of a key, "" and "" when it has none.
func split(key string) (owner, rest string) {
	owner, rest, ok := strings.Cut(key, ".")
	if !ok || owner == "" || rest == "" || rest == "." || rest == ".." {
		return "", ""
	}
	return owner, rest
}

// set shows a metadata value.
func (r *runDir) set(kind, key, value string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.write(filepath.Join(kind, key), []byte(value)); err != nil {
		return err
	}
	owner, rest := split(key)
	if owner == "" {
		return nil
	}
	dir := kind + "." + owner
	if err := os.MkdirAll(r.path(dir), 0o755); err != nil {
		return err
	}
	return r.write(filepath.Join(dir, rest), []byte(value))
}

// remove takes a metadata value away.
func (r *runDir) remove(kind, key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := gone(os.Remove(r.path(kind, key)))
	if owner, rest := split(key); owner != "" {
		err = errors.Join(err, gone(os.Remove(r.path(kind+"."+owner, rest))))
	}
	return err
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// write gives a file its content in one step. Nothing here outlives the
// machine, so nothing waits for the disk.
func (r *runDir) write(name string, content []byte) error {
	f, err := os.CreateTemp(r.path(fileDir), "")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), r.path(name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("show %s: %w", name, err), gone(os.Remove(f.Name())))
	}
	return nil
}

// clear empties the directory: who finds something there must find a runtime.
func (r *runDir) clear() error {
	entries, err := os.ReadDir(r.dir)
	for _, e := range entries {
		if e.Name() != workDir && ours(e.Name()) { // see newRunDir
			err = errors.Join(err, os.RemoveAll(r.path(e.Name())))
		}
	}
	return err
}
