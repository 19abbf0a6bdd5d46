package rootfs_test

import (
	"bytes"
	"io"
	"os/exec"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// pipe hides everything but Read.
type pipe struct{ io.Reader }

func TestTarOfDirIsTheDir(t *testing.T) {
	testreq.Root(t)
	dir := zoo(t, true)
	want := fromDir(t, dir, rootfs.DirOptions{})
	xattrs := []string{"--xattrs", "--xattrs-include=*"}
	for name, c := range map[string]struct {
		args []string
		opts rootfs.CompareOptions
	}{
		"pax":          {append([]string{"--format=pax"}, xattrs...), rootfs.CompareOptions{}},
		"posix sparse": {append([]string{"--format=posix", "--sparse", "--sparse-version=1.0"}, xattrs...), rootfs.CompareOptions{}},
		"sparse 0.1":   {append([]string{"--format=posix", "--sparse", "--sparse-version=0.1"}, xattrs...), rootfs.CompareOptions{}},
		"sparse 0.0":   {append([]string{"--format=posix", "--sparse", "--sparse-version=0.0"}, xattrs...), rootfs.CompareOptions{}},
		"gnu":          {[]string{"--format=gnu"}, rootfs.CompareOptions{IgnoreXattrs: true}},
		"gnu sparse":   {[]string{"--format=gnu", "--sparse"}, rootfs.CompareOptions{IgnoreXattrs: true}},
	} {
		t.Run(name, func(t *testing.T) {
			data := gnuTar(t, dir, c.args...)
			for kind, r := range map[string]io.Reader{"in place": bytes.NewReader(data), "spooled": pipe{bytes.NewReader(data)}} {
				got, err := rootfs.FromTar(t.Context(), r, rootfs.TarOptions{TempDir: t.TempDir()})
				if err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				wantSame(t, got.Tree, want, c.opts)
				if err := got.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestBsdtarOfDirIsTheDir: libarchive writes pax in its own way, with extended
// attributes in records of its own, and reads our hard links and devices back.
func TestBsdtarOfDirIsTheDir(t *testing.T) {
	testreq.Root(t)
	bsdtar := testreq.Tool(t, "bsdtar")
	dir := zoo(t, true)
	want := fromDir(t, dir, rootfs.DirOptions{})
	for name, c := range map[string]struct {
		args []string
		opts rootfs.CompareOptions
	}{
		"pax":   {[]string{"--format=pax", "--xattrs"}, rootfs.CompareOptions{}},
		"zstd":  {[]string{"--format=pax", "--xattrs", "--zstd"}, rootfs.CompareOptions{}},
		"gzip":  {[]string{"--format=pax", "--xattrs", "--gzip"}, rootfs.CompareOptions{}},
		"xz":    {[]string{"--format=pax", "--xattrs", "--xz"}, rootfs.CompareOptions{}},
		"bzip2": {[]string{"--format=pax", "--xattrs", "--bzip2"}, rootfs.CompareOptions{}},
		"gnu":   {[]string{"--format=gnutar"}, rootfs.CompareOptions{IgnoreXattrs: true}},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := exec.Command(bsdtar, append(c.args, "-C", dir, "-cf", "-", ".")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			got, err := rootfs.FromTar(t.Context(), pipe{bytes.NewReader(data)}, rootfs.TarOptions{TempDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			wantSame(t, got.Tree, want, c.opts)
		})
	}
}

func TestTarInEveryPacking(t *testing.T) {
	dir := zoo(t, false)
	want := fromDir(t, dir, rootfs.DirOptions{})
	plain := gnuTar(t, dir, "--format=pax", "--xattrs")
	for name, args := range map[string][]string{
		"gzip": {"gzip", "-9"}, "zstd": {"zstd", "-19"}, "xz": {"xz", "-9"}, "bzip2": {"bzip2"},
		"xz blocks": {"xz", "--block-size=20000", "-C", "sha256"}, "xz -0": {"xz", "-0", "-C", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(testreq.Tool(t, args[0]), append(args[1:], "-c")...)
			cmd.Stdin = bytes.NewReader(plain)
			data, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			got, err := rootfs.FromTar(t.Context(), bytes.NewReader(data), rootfs.TarOptions{TempDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			if got.Packing != args[0] {
				t.Errorf("packing %q", got.Packing)
			}
			wantSame(t, got.Tree, want, rootfs.CompareOptions{})
		})
	}
}
