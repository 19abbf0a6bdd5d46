package squashfs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	diskfile "github.com/diskfs/go-diskfs/backend/file"
	diskfs "github.com/diskfs/go-diskfs/filesystem/squashfs"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// clean fails the test for every problem that Verify finds.
func clean(t testing.TB, im *squashfs.Image) squashfs.VerifyStats {
	t.Helper()
	problems, stats, err := im.Verify(t.Context(), squashfs.VerifyOptions{})
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
	return stats
}

func TestVerifyFindsNothingInGoodImages(t *testing.T) {
	for _, name := range []string{"gzip", "gzipopt", "xz", "lz4", "lz4hc", "zstd", "none", "nofrag"} {
		t.Run(name, func(t *testing.T) {
			s := clean(t, open(t, packed(t, name)))
			if s.Directories != 5 || s.Files != 45 || s.Others != 6 || s.HardLinks != 1 || s.FileBytes != 34125 || s.Unused != 0 {
				t.Errorf("got %+v", s)
			}
		})
	}
}

var le = binary.LittleEndian

// patch is an image whose metadata is stored, so that a test can change it.
type patch struct {
	t *testing.T
	b []byte
}

// at follows the 64-bit position that stands at off.
func (p patch) at(off int) int { return int(le.Uint64(p.b[off:])) }

// inode is where the inode of a path starts; the export table knows.
func (p patch) inode(path string) int {
	p.t.Helper()
	e, err := open(p.t, p.b).Lookup(path)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.at(64) + 2 + int(le.Uint64(p.b[p.export(e.Inode):])&0xffff)
}

func (p patch) export(number uint32) int {
	return p.at(p.at(88)) + 2 + int(number-1)*8
}

func (p patch) add(off int, v uint32) { le.PutUint32(p.b[off:], le.Uint32(p.b[off:])+v) }

func (p patch) replace(old, with string) {
	p.t.Helper()
	if bytes.Count(p.b, []byte(old)) != 1 {
		p.t.Fatalf("%q stands %d times in the image", old, bytes.Count(p.b, []byte(old)))
	}
	copy(p.b[bytes.Index(p.b, []byte(old)):], with)
}

func TestVerifyFindsDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(p patch)
		want   string // gravity: rule
		path   string
	}{
		{"link count of a file", func(p patch) { p.add(p.inode("hello")+40, 1) }, "damage: links", ""},
		{"link count of a directory", func(p patch) { p.add(p.inode("dir/sub")+20, 1) }, "damage: links", "dir/sub"},
		{"inode number", func(p patch) { p.add(p.inode("fifo")+12, 1) }, "damage: inode", ""},
		{"inode number in a directory", func(p patch) { p.add(p.inode("fifo")+12, 1) }, "damage: directory", "fifo"},
		{"inode count", func(p patch) { p.add(4, 1) }, "damage: inode", ""},
		{"owner", func(p patch) { p.b[p.inode("abs")+4] = 9 }, "damage: ids", "abs"},
		{"mode", func(p patch) { p.b[p.inode("abs")+3] |= 0x80 }, "damage: inode", "abs"},
		{"parent", func(p patch) { p.add(p.inode("dir/sub")+28, 1) }, "damage: directory", "dir/sub"},
		{"fragment number", func(p patch) { p.add(p.inode("many/file-0")+20, 7) }, "damage: fragment", "many/file-0"},
		{"tail past its fragment", func(p patch) { le.PutUint32(p.b[p.inode("many/file-0")+24:], 4095) }, "damage: fragment", "many/file-0"},
		{"block outside", func(p patch) { p.add(p.inode("stored")+16, 1<<20) }, "damage: block", "stored"},
		{"blocks overlap", func(p patch) { p.add(p.inode("blocks")+16, 1) }, "damage: overlap", ""},
		{"block length", func(p patch) { p.b[p.inode("blocks")+32] ^= 1 }, "damage: block", "blocks"},
		{"xattr number", func(p patch) { p.add(p.inode("zero")+52, 50) }, "damage: xattr", "zero"},
		{"xattr prefix", func(p patch) { p.b[bytes.Index(p.b, []byte("capability"))-4] = 9 }, "damage: xattr", ""},
		{"directory size", func(p patch) { p.b[p.inode("dir/sub")+24]++ }, "damage: directory", "dir/sub"},
		{"order of names", func(p patch) { p.replace("file-10", "file-zz") }, "damage: directory", "many"},
		{"slash in a name", func(p patch) { p.replace("file-10", "file/10") }, "damage: directory", "many"},
		{"dots", func(p patch) { le.PutUint16(p.b[bytes.Index(p.b, []byte("abs"))-2:], 1); p.replace("abs", "..s") }, "damage: directory", "."},
		{"export table", func(p patch) { p.b[p.export(3)]++ }, "damage: export", ""},
		{"fragment table", func(p patch) { p.b[p.at(p.at(80))+2]++ }, "damage: overlap", ""},
		{"not padded", func(p patch) {}, "kernel: padding", ""},
		{"gap before a table", func(p patch) { p.add(40, 8) }, "kernel: table", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := patch{t, packed(t, "none")}
			c.change(p)
			if c.name == "not padded" {
				p.b = p.b[:le.Uint64(p.b[40:])]
			}
			problems, _, err := open(t, p.b).Verify(t.Context(), squashfs.VerifyOptions{Workers: 1})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(problems, func(p squashfs.Problem) bool {
				return p.Gravity.String()+": "+p.Rule == c.want && (c.path == "" || p.Path == c.path)
			}) {
				t.Errorf("no %s for %q in %v", c.want, c.path, problems)
			}
		})
	}
}

// TestVerifyMissesNoChange changes the data byte by byte. What Verify does not
// notice must be without effect (spare bits of a compressed stream), or lie in
// a stored block, which has no checksum.
func TestVerifyMissesNoChange(t *testing.T) {
	good := packed(t, "gzip")
	im := open(t, good)
	want, err := im.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for off := 96; off < int(im.Info().Tables[0].Offset); off += 7 {
		b := slices.Clone(good)
		b[off] ^= 0x10
		bad := open(t, b)
		problems, _, err := bad.Verify(t.Context(), squashfs.VerifyOptions{Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(problems) > 0 {
			found++
			continue
		}
		got, err := bad.Tree(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		diffs, err := rootfs.Compare(t.Context(), want, got, rootfs.CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range diffs {
			if d.Path != "stored" {
				t.Errorf("byte %d: nothing was found and %v", off, d)
			}
		}
	}
	if found < 20 {
		t.Errorf("Verify found %d of the changes", found)
	}
}

func TestVerifyNeedsTheCodec(t *testing.T) {
	for name, what := range map[string]string{"lzo": "lzo", "xzbcj": "x86"} {
		_, _, err := open(t, packed(t, name)).Verify(t.Context(), squashfs.VerifyOptions{})
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestVerifyKnowsTheKernelsRules(t *testing.T) {
	lz4 := packed(t, "lz4")
	lz4[25] &^= 4 // the flag of the compressor options
	version := packed(t, "lz4")
	le.PutUint32(version[98:], 2)
	for _, c := range []struct {
		name, want string
		image      []byte
	}{
		{"lzma", "Linux has never read lzma", packed(t, "lzma")},
		{"lz4 without options", "lz4 without compressor options", lz4},
		{"lz4 of another version", "lz4 version 2", version},
		{"zstd of go-diskfs", "zstd window", diskfsImage(t, &diskfs.CompressorZstd{})},
		{"xz of go-diskfs", "xz check 4", diskfsImage(t, &diskfs.CompressorXz{})},
	} {
		t.Run(c.name, func(t *testing.T) {
			problems, _, err := open(t, c.image).Verify(t.Context(), squashfs.VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(problems, func(p squashfs.Problem) bool {
				return p.Gravity == squashfs.Kernel && strings.Contains(p.Message, c.want)
			}) {
				t.Errorf("no %q in %v", c.want, problems)
			}
		})
	}
}

// diskfsImage writes an image with go-diskfs, whose zstd and xz images Linux
// cannot read.
func diskfsImage(t *testing.T, codec diskfs.Compressor) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image")
	b, err := diskfile.CreateFromPath(name, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	sq, err := diskfs.Create(b, 16<<20, 0, 128<<10)
	if err != nil {
		t.Fatal(err)
	}
	f, err := sq.OpenFile("words", os.O_CREATE|os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(words(1, 300_000)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sq.Finalize(diskfs.FinalizeOptions{Compression: codec}); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
