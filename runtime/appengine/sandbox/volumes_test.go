package sandbox_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

func TestMount(t *testing.T) {
	b := open(t)
	img, err := image()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(b.dir, "disks", "perm", "app", "data")
	m, err := b.Mount(t.Context(), "app", []sandbox.Volume{{Name: "root.squashfs", Image: img}, {Name: "docker--data", Dir: data}, {Name: "lxc-overlay", Tmpfs: true}})
	if err != nil {
		t.Fatal(err)
	}
	for volume, write := range map[string]bool{"root.squashfs": false, "docker--data": true, "lxc-overlay": true} {
		at := m.Dir(volume)
		if want := m.Volumes()["/volumes/app/"+volume]; at != want || at == "" {
			t.Errorf("%s is at %q and at %q", volume, at, want)
		}
		if err := os.WriteFile(filepath.Join(at, "x"), nil, 0o644); (err == nil) != write {
			t.Errorf("write to %s: %v", volume, err)
		}
	}
	if err := m.Unmount(t.Context()); err != nil {
		t.Error(err)
	}
	if err := m.Unmount(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := os.Stat(filepath.Join(data, "x")); err != nil {
		t.Errorf("the data is gone: %v", err)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "run", "volumes", "app")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory stays: %v", err)
	}
}

func TestMountErrors(t *testing.T) {
	b := open(t)
	bad := filepath.Join(b.dir, "bad.squashfs")
	os.WriteFile(bad, make([]byte, 8192), 0o644)
	for name, c := range map[string]struct {
		container string
		volumes   []sandbox.Volume
		want      string
	}{
		"verity":       {"app", []sandbox.Volume{{Name: "dm:root.squashfs", Image: bad}}, "mount volumes of app: dm:root.squashfs: dm-verity volumes (dm:) are not supported"},
		"no image":     {"app", []sandbox.Volume{{Name: "a", Image: "/nothing"}}, "a: open /nothing: no such file or directory"},
		"broken image": {"app", []sandbox.Volume{{Name: "a", Image: bad}}, "mount " + bad},
		"name":         {"app", []sandbox.Volume{{Name: "../a", Tmpfs: true}}, "it is not a name of a volume"},
		"container":    {"../x", nil, `"../x" is not the name of a container`},
		"two things":   {"app", []sandbox.Volume{{Name: "a", Tmpfs: true, Dir: "/x"}}, "want one of image, directory and tmpfs"},
		"nothing":      {"app", []sandbox.Volume{{Name: "a"}}, "want one of image, directory and tmpfs"},
		"twice":        {"app", []sandbox.Volume{{Name: "a", Tmpfs: true}, {Name: "a", Tmpfs: true}}, "there are two of that name"},
	} {
		_, err := b.Mount(t.Context(), c.container, c.volumes)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
		if _, err := os.Stat(filepath.Join(b.dir, "run", "volumes", "app")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the directory stays", name)
		}
	}
	if _, err := b.Mount(t.Context(), "app", []sandbox.Volume{{Name: "dm:x", Image: bad}}); !errors.Is(err, sandbox.ErrVerity) {
		t.Errorf("got %v", err)
	}
}

// Where images cannot be mounted their files are unpacked, once, and the
// container sees no difference.
func TestUnpacked(t *testing.T) {
	b := open(t, func(o *sandbox.Options) { o.NoLoop = true })
	out, _ := b.run(sandbox.Spec{Config: conf(t, "/prog stat:/prog write:/etc/x=y cat:/etc/x open:/prog")})
	if want := "/prog 100755 0:0 0:0\nyerror: open /prog: text file busy\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	var wg sync.WaitGroup
	img, _ := image()
	for _, name := range []string{"a", "b", "c"} {
		wg.Go(func() {
			m, err := b.Mount(t.Context(), name, []sandbox.Volume{{Name: "root.squashfs", Image: img}})
			if err != nil {
				t.Error(err)
				return
			}
			if err := os.WriteFile(filepath.Join(m.Dir("root.squashfs"), "x"), nil, 0o644); err == nil {
				t.Error("the image can be written to")
			}
			if err := m.Unmount(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if entries, err := os.ReadDir(filepath.Join(b.dir, "run", "images")); len(entries) != 1 {
		t.Errorf("%d copies, %v", len(entries), err)
	}
	if err := b.Prune(nil); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Join(b.dir, "run", "images")); len(entries) != 0 {
		t.Errorf("%d copies after pruning, %v", len(entries), err)
	}
	if _, err := b.Mount(t.Context(), "d", []sandbox.Volume{{Name: "r", Image: img, Digest: "../../x"}}); err == nil {
		t.Error("a digest that is none was taken")
	}
}

// 30 mounts at once find 30 loop devices.
func TestLoopRace(t *testing.T) {
	b := open(t)
	img, err := image()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			name := "c" + strings.Repeat("x", i)
			m, err := b.Mount(t.Context(), name, []sandbox.Volume{{Name: "root.squashfs", Image: img}})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(m.Dir("root.squashfs"), "prog")); err != nil {
				t.Error(err)
			}
			if err := m.Unmount(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := b.log.String(); strings.Contains(s, "not mounted") {
		t.Error(s)
	}
}
