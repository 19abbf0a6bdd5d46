package mnt_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/mnt"
)

func TestParseOptions(t *testing.T) {
	for options, want := range map[string]mnt.Options{
		"":                          {},
		"bind":                      {Bind: true},
		"rbind,ro":                  {Bind: true, Recursive: true, Set: unix.MOUNT_ATTR_RDONLY},
		"ro,rw":                     {Clear: unix.MOUNT_ATTR_RDONLY},
		"nosuid,nodev,noexec":       {Set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC},
		"noatime,relatime":          {Clear: unix.MOUNT_ATTR__ATIME},
		"rslave":                    {Propagation: unix.MS_SLAVE},
		"shared":                    {Propagation: unix.MS_SHARED},
		"size=1m,sync,create=dir":   {Data: []string{"size=1m", "sync"}},
		"defaults,optional,unknown": {Data: []string{"unknown"}},
	} {
		got := mnt.ParseOptions(strings.FieldsFunc(options, func(r rune) bool { return r == ',' }), "create=dir", "optional")
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", options, got, want)
		}
	}
}

// A mount is made, changed and attached by descriptors alone.
func TestMount(t *testing.T) {
	testreq.Root(t)
	dir := t.TempDir()
	fd, err := mnt.FS("tmpfs", "none", mnt.Options{Set: unix.MOUNT_ATTR_NOEXEC, Data: []string{"size=64k", "mode=0711"}})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(at)
	if err := mnt.Attach(fd, at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o644); err != nil {
		t.Error(err)
	}
	copied, err := mnt.Clone(fd, false)
	if err == nil {
		err = mnt.Change(copied, mnt.Options{Set: unix.MOUNT_ATTR_RDONLY})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(copied)
	if _, err := unix.Openat(copied, "y", unix.O_CREAT|unix.O_WRONLY, 0o644); err != unix.EROFS {
		t.Errorf("write to the read-only copy: %v", err)
	}
	if f, err := unix.Openat(copied, "x", unix.O_RDONLY, 0); err != nil {
		t.Errorf("read from the copy: %v", err)
	} else {
		unix.Close(f)
	}
	for what, want := range map[string]string{"size=many": "option size=many", "nosuch=1": "nosuch"} {
		if _, err := mnt.FS("tmpfs", "none", mnt.Options{Data: []string{what}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := mnt.FS("nosuchfs", "none", mnt.Options{}); err == nil || !strings.Contains(err.Error(), "this kernel has no file system nosuchfs") {
		t.Errorf("got %v", err)
	}
}
