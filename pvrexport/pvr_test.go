package pvrexport_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport"
)

// TestReadPvrExport reads testdata/pvr.tgz, which pvr (develop, April 2023)
// exported from a repository with two files of the same content twice: it
// holds five entries for three objects, in no order.
func TestReadPvrExport(t *testing.T) {
	b, err := pvrexport.OpenBundle(context.Background(), "testdata/pvr.tgz", t.TempDir(), pvrexport.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	want, err := os.ReadFile("testdata/pvr.state.json")
	if err != nil {
		t.Fatal(err)
	}
	if !b.State.Canonical() || !bytes.Equal(b.State.Encode(), want) {
		t.Errorf("state: %s", b.State.Encode())
	}
	if b.Info.Objects != 3 || b.Info.ObjectSize != 3022 {
		t.Errorf("info: %+v", b.Info)
	}
}

// TestPvrReadsOurs lets the real pvr inspect, clone and import a bundle.
func TestPvrReadsOurs(t *testing.T) {
	pvr := testreq.Env(t, "PVKIT_PVR", "the program pvr, built from github.com/pantacor/pvr")
	home, work := t.TempDir(), t.TempDir()
	run := func(dir string, args ...string) []byte {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, pvr, args...)
		cmd.Dir = dir
		cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "PVR_DISABLE_SELF_UPGRADE=1"}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("pvr %v: %v\n%s%s", args, err, out, stderr.Bytes())
		}
		return out
	}

	s, objects := sample(t)
	for _, c := range []struct {
		file string
		pack pvrexport.Compression
	}{{"x.tgz", pvrexport.Gzip}, {"x.tar", pvrexport.None}} {
		name := filepath.Join(work, c.file)
		if err := os.WriteFile(name, write(t, s, objects, pvrexport.WriteOptions{Compression: c.pack}), 0o644); err != nil {
			t.Fatal(err)
		}
		same := func(how string, state []byte) {
			t.Helper()
			got, err := pvrexport.DecodeState(bytes.NewReader(state))
			if err != nil || len(pvrexport.Diff(s, got)) > 0 {
				t.Errorf("%s %s: %v\n%s", how, c.file, err, state)
			}
		}
		imported := filepath.Join(work, c.file+".import")
		if err := os.Mkdir(imported, 0o755); err != nil {
			t.Fatal(err)
		}
		run(imported, "init")
		run(imported, "import", name)
		same("import", readFile(t, filepath.Join(imported, ".pvr", "json")))
		if c.pack != pvrexport.Gzip {
			continue // inspect and clone take a plain tar for a remote name
		}
		same("inspect", run(work, "inspect", name))
		cloned := filepath.Join(work, c.file+".clone")
		run(work, "clone", name, cloned)
		same("clone", readFile(t, filepath.Join(cloned, ".pvr", "json")))
		if got := readFile(t, filepath.Join(cloned, "app", "lxc.container.conf")); string(got) != "lxc.tty.max = 8\n" {
			t.Errorf("clone checked out %q", got)
		}

		// And back: what pvr exports from the clone has the same state.
		run(cloned, "export", filepath.Join(work, "back.tgz"))
		back, err := pvrexport.OpenBundle(context.Background(), filepath.Join(work, "back.tgz"), work, pvrexport.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if d := pvrexport.Diff(s, back.State); d != nil {
			t.Errorf("export: %v", d)
		}
		if err := back.Close(); err != nil {
			t.Error(err)
		}
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
