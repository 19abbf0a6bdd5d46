package squashfs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// debianRoot makes a minimal root filesystem of the Debian release that the
// test runs on, from the package sources that the machine uses.
func debianRoot(t testing.TB) string {
	t.Helper()
	testreq.Root(t)
	tool := testreq.Tool(t, "mmdebstrap")
	release, _ := os.ReadFile("/etc/os-release")
	fields := map[string]string{}
	for line := range strings.Lines(string(release)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		fields[k] = strings.Trim(v, `"`)
	}
	testreq.Feature(t, "debian", fields["ID"] == "debian" && fields["VERSION_CODENAME"] != "", "this is not a Debian release")
	dir := filepath.Join(t.TempDir(), "debian")
	args := []string{"--quiet", "--variant=minbase", fields["VERSION_CODENAME"], dir}
	for _, sources := range []string{"/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources"} {
		if i, err := os.Stat(sources); err == nil && i.Size() > 0 {
			args = append(args, sources)
		}
	}
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		t.Fatalf("mmdebstrap: %v\n%s", err, out)
	}
	return dir
}

// TestEverybodyReadsDebian packs a real root filesystem with the default
// options.
func TestEverybodyReadsDebian(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages for half a minute")
	}
	t.Parallel() // it mostly waits for packages
	tree := fromDir(t, debianRoot(t))
	name, im := imageFile(t, tree, squashfs.Options{})
	s := clean(t, im)
	if s.Files < 1000 || s.Directories < 100 || s.FileBytes < 50<<20 {
		t.Errorf("this is no root filesystem: %+v", s)
	}
	if _, err := im.Lookup("usr/bin/dpkg"); err != nil {
		t.Error(err)
	}
	t.Run("own", func(t *testing.T) {
		got, err := im.Tree(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		same(t, tree, got)
	})
	t.Run("kernel", func(t *testing.T) { same(t, tree, kernelTree(t, name)) })
	t.Run("unsquashfs", func(t *testing.T) { same(t, tree, unsquashfsTree(t, name)) })
	t.Run("go-diskfs", func(t *testing.T) {
		sameBut(t, tree, diskfsTree(t, name, tree), rootfs.CompareOptions{IgnoreXattrs: true})
	})
}
