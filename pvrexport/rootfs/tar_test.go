package rootfs_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// entry is a tar entry with its content.
type entry struct {
	tar.Header
	data string
}

func file(name, data string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}, data}
}

func other(name string, typ byte, link string) entry {
	return entry{tar.Header{Name: name, Typeflag: typ, Mode: 0o755, Linkname: link}, ""}
}

// wide lets constants that a 32-bit int does not hold compile everywhere.
func wide(v int64) int { return int(v) }

func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// both reads an archive in place and from a pipe, and wants the same.
func both(t *testing.T, data []byte, opts rootfs.TarOptions) (*rootfs.TarTree, error) {
	t.Helper()
	opts.TempDir = t.TempDir()
	if opts.Base != nil {
		return rootfs.FromTar(t.Context(), bytes.NewReader(data), opts)
	}
	got, err := rootfs.FromTar(t.Context(), bytes.NewReader(data), opts)
	piped, err2 := rootfs.FromTar(t.Context(), pipe{bytes.NewReader(data)}, opts)
	if err == nil && err2 == nil {
		t.Cleanup(func() {
			if err := errors.Join(got.Close(), piped.Close()); err != nil {
				t.Error(err)
			}
		})
		wantSame(t, got.Tree, piped.Tree, rootfs.CompareOptions{})
	} else if (err == nil) != (err2 == nil) {
		t.Errorf("in place: %v; piped: %v", err, err2)
	}
	if left, err := os.ReadDir(opts.TempDir); err != nil || len(left) > 0 {
		t.Errorf("the temporary directory holds %v, %v", left, err)
	}
	return got, err
}

func listing(tree *rootfs.Tree) string {
	var names []string
	for name, n := range tree.All() {
		if n.Kind == rootfs.Symlink {
			name += "->" + n.Target
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func TestTarMeansWhatExtractionMeans(t *testing.T) {
	for name, c := range map[string]struct {
		entries []entry
		want    string
	}{
		"leading":                           {[]entry{file("./a", ""), file("/b", ""), other("./", tar.TypeDir, ""), file("c//d/./e", "")}, ". a b c c/d c/d/e"},
		"empty":                             {nil, "."},
		"later file replaces":               {[]entry{file("a", "1"), other("a", tar.TypeSymlink, "x")}, ". a->x"},
		"directory again keeps its entries": {[]entry{file("d/f", ""), other("d/", tar.TypeDir, "")}, ". d d/f"},
		"file replaces directory":           {[]entry{file("d/f", ""), file("d", "")}, ". d"},
		"whiteouts are files unless asked":  {[]entry{file(".wh.x", "")}, ". .wh.x"},
		"volume label and global header": {[]entry{
			{tar.Header{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}, ""}, file("a", ""),
		}, ". a"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := both(t, pack(t, c.entries...), rootfs.TarOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if l := listing(got.Tree); l != c.want {
				t.Errorf("got  %s\nwant %s", l, c.want)
			}
		})
	}
}

func TestTarHardLinks(t *testing.T) {
	got, err := both(t, pack(t, file("a", "old"), other("b", tar.TypeLink, "./a"), file("a", "new"), other("c", tar.TypeLink, "a"), other("d", tar.TypeLink, "/b")), rootfs.TarOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "new", "b": "old", "c": "new", "d": "old"} {
		if s := read(t, got.Lookup(name)); s != want {
			t.Errorf("%s holds %q, want %q", name, s, want)
		}
	}
	if got.Lookup("a") != got.Lookup("c") || got.Lookup("b") != got.Lookup("d") {
		t.Error("links are not one node")
	}
	ex, err := rootfs.ParseExcludes([]string{"a"}, false)
	if err != nil {
		t.Fatal(err)
	}
	got, err = both(t, pack(t, file("a", "x"), other("b", tar.TypeLink, "a")), rootfs.TarOptions{Excludes: ex})
	if err != nil || got.Lookup("a") != nil || read(t, got.Lookup("b")) != "x" {
		t.Errorf("a link to an excluded file: %v", err)
	}
}

func TestTarXattrs(t *testing.T) {
	var skipped []string
	e := file("f", "x")
	e.PAXRecords = map[string]string{
		"SCHILY.xattr.user.a": "1\x00=2", "LIBARCHIVE.xattr.user.b%20c": "AP8", "LIBARCHIVE.xattr.user.d": "AP8=",
		"RHT.security.selinux": "label", "SCHILY.acl.access": "user::rw-", "SCHILY.xattr.system.posix_acl_access": "x",
	}
	got, err := both(t, pack(t, e), rootfs.TarOptions{Skipped: func(name, what string) { skipped = append(skipped, name+" "+what) }})
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%q", got.Lookup("f").Xattrs); s != `[{"security.selinux" "label"} {"user.a" "1\x00=2"} {"user.b c" "\x00\xff"} {"user.d" "\x00\xff"}]` {
		t.Error(s)
	}
	if len(skipped) != 4 || skipped[0] != "f pax record SCHILY.acl.access" || skipped[1] != "f extended attribute system.posix_acl_access" {
		t.Errorf("skipped %q", skipped)
	}
	e.PAXRecords = map[string]string{"LIBARCHIVE.xattr.user.x": "!"}
	if _, err := both(t, pack(t, e), rootfs.TarOptions{}); err == nil || !strings.Contains(err.Error(), "LIBARCHIVE.xattr.user.x") {
		t.Errorf("bad base64: %v", err)
	}
}

func TestTarOwnersDevicesTimes(t *testing.T) {
	dev := other("d", tar.TypeBlock, "")
	dev.Devmajor, dev.Devminor, dev.Uid, dev.Gid, dev.Format = 259, 70000, wide(4294967294), 7, tar.FormatGNU
	old := file("old", "")
	old.ModTime, old.Format = time.Unix(-1000, 0), tar.FormatGNU
	late := file("late", "")
	late.ModTime = time.Unix(5e9, 0)
	got, err := both(t, pack(t, dev, old, late), rootfs.TarOptions{ClampTime: time.Unix(4e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if n := got.Lookup("d"); n.Kind != rootfs.BlockDevice || n.Major != 259 || n.Minor != 70000 || n.UID != 4294967294 || n.GID != 7 {
		t.Errorf("%+v", n)
	}
	if got.Lookup("old").ModTime != -1000 || got.Lookup("late").ModTime != 4e9 {
		t.Error("times")
	}
}

func TestWhiteouts(t *testing.T) {
	base := func() *rootfs.Tree {
		got, err := rootfs.FromTar(t.Context(), bytes.NewReader(pack(t, file("a", "lower"), file("d/x", ""), file("d/y", ""), file("e/x", ""), file("r/lower", ""), file("l", "target"))), rootfs.TarOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return got.Tree
	}
	for name, c := range map[string]struct {
		entries []entry
		want    string
	}{
		"remove":              {[]entry{file(".wh.a", ""), file("d/.wh.x", ""), file(".wh.nothing", "")}, ". d d/y e e/x l r r/lower"},
		"only below":          {[]entry{file("a", "upper"), file(".wh.a", "")}, ". a d d/x d/y e e/x l r r/lower"},
		"opaque, any order":   {[]entry{file("d/new", ""), file("d/.wh..wh..opq", "")}, ". a d d/new e e/x l r r/lower"},
		"opaque root":         {[]entry{file(".wh..wh..opq", ""), file("n", "")}, ". n"},
		"directory anew":      {[]entry{other("r/", tar.TypeDir, ""), file("r/upper", ""), file(".wh.r", "")}, ". a d d/x d/y e e/x l r r/upper"},
		"aufs":                {[]entry{file(".wh..wh.plnk/x", ""), file(".wh..wh.aufs", "")}, ". .wh..wh.plnk .wh..wh.plnk/x a d d/x d/y e e/x l r r/lower"},
		"implied parent":      {[]entry{file("e/z", "")}, ". a d d/x d/y e e/x e/z l r r/lower"},
		"link to lower layer": {[]entry{other("m", tar.TypeLink, "l")}, ". a d d/x d/y e e/x l m r r/lower"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := both(t, pack(t, c.entries...), rootfs.TarOptions{Base: base(), Whiteouts: true})
			if err != nil {
				t.Fatal(err)
			}
			if l := listing(got.Tree); l != c.want {
				t.Errorf("got  %s\nwant %s", l, c.want)
			}
		})
	}
}

func TestTarRefuses(t *testing.T) {
	bigOwner := file("f", "")
	bigOwner.Uid, bigOwner.Format = wide(1<<33), tar.FormatPAX
	good := pack(t, file("first", strings.Repeat("x", 600)), file("second", "y"))
	flipped := bytes.Clone(good)
	flipped[1536+3] ^= 1 // in the second header: its sum is wrong then
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"climbs":              {pack(t, file("ok", ""), file("a/../../x", "")), `entry 2 "a/../../x" at byte 1024`},
		"link climbs":         {pack(t, other("l", tar.TypeLink, "../x")), `entry 1 "l" at byte 512 of the archive: hard link: name "../x"`},
		"link to nothing":     {pack(t, other("l", tar.TypeLink, "x")), `hard link to "x", which the archive does not hold`},
		"link to itself":      {pack(t, other("l", tar.TypeLink, "l")), `hard link to "l", which the archive does not hold`},
		"link to directory":   {pack(t, other("d/", tar.TypeDir, ""), other("l", tar.TypeLink, "d")), "which is a directory"},
		"below a symlink":     {pack(t, other("s", tar.TypeSymlink, "/"), file("s/x", "")), `entry 2 "s/x" at byte 1024 of the archive: put "s/x": "s" in its path is a symlink`},
		"root is a file":      {pack(t, file(".", "")), "the root must be a directory"},
		"unknown type":        {pack(t, other("m", 'M', "")), "entry type 'M' is not supported"},
		"owner":               {pack(t, bigOwner), "owner 8589934592:0 does not fit"},
		"header":              {flipped, "entry 2 at byte"},
		"no end marker":       {good[:len(good)-1024], "entry 3 at byte 2560 of the archive: the archive has no end marker"},
		"cut in padding":      {good[:len(good)-1024-5], "entry 3 at byte"},
		"cut in content":      {good[:1024], "unexpected EOF"},
		"cut in a header":     {good[:1600], "entry 2 at byte"},
		"long part":           {pack(t, file(strings.Repeat("n", 256), "")), "longer than 255 bytes"},
		"empty input":         {nil, "not a tar archive: the input is empty"},
		"zip":                 {[]byte("PK\x03\x04xxxxxxxxx"), "this is a zip archive"},
		"squashfs":            {[]byte("hsqs" + strings.Repeat("x", 600)), "this is a squashfs image"},
		"text":                {[]byte("hello"), "it starts with 68 65 6c 6c 6f"},
		"gzip of text":        {gz([]byte("hello")), "entry 1 at byte 5 of the archive: unexpected EOF"},
		"gzip of nothing":     {gz(nil), "no end marker"},
		"cut gzip":            {gz(good)[:60], "unexpected EOF"},
		"gzip with bad sum":   {corrupt(gz(good), -6), "gzip: invalid checksum"},
		"gzip and garbage":    {append(gz(good), "garbage at the end"...), "gzip stream after the archive's end: gzip: invalid header"},
		"gzip header only":    {gz(good)[:4], "gzip"},
		"name with NUL":       {paxNUL(t), "entry 1 at byte"},
		"xz with huge window": {xzHuge(t, good), "xz dictionary: 4294967295 is above the limit"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := both(t, c.data, rootfs.TarOptions{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func gz(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data) // a bytes.Buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

func corrupt(data []byte, at int) []byte {
	data[len(data)+at] ^= 0xff
	return data
}

// paxNUL is an archive whose pax path holds a NUL byte.
func paxNUL(t *testing.T) []byte {
	e := file("long", "")
	e.Format, e.PAXRecords = tar.FormatPAX, map[string]string{"comment.x": "path=a_b"}
	data := pack(t, e)
	return bytes.Replace(data, []byte("comment.x=path=a_b"), []byte("path=long\x00/../etc/x"), 1)[:len(data)]
}

func packXZ(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSecondStreams: packers that work in parallel, and cat, put streams one
// after the other. The limit on xz dictionaries holds in each.
func TestSecondStreams(t *testing.T) {
	data := pack(t, file("a", strings.Repeat("x", 3000)), file("b", "y"))
	first, second := data[:1000], data[1000:]
	for name, packed := range map[string][]byte{
		"gzip":           append(gz(first), gz(second)...),
		"xz":             append(packXZ(t, first), packXZ(t, second)...),
		"gzip and zeros": append(gz(data), make([]byte, 10240)...),
		"xz and padding": append(append(packXZ(t, first), 0, 0, 0, 0), packXZ(t, second)...),
	} {
		got, err := both(t, packed, rootfs.TarOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if l := listing(got.Tree); l != ". a b" || len(read(t, got.Lookup("a"))) != 3000 {
			t.Errorf("%s: %s", name, l)
		}
	}
	_, err := both(t, append(packXZ(t, first), xzHuge(t, second)...), rootfs.TarOptions{})
	if le, ok := errors.AsType[*rootfs.LimitError](err); !ok || le.What != "xz dictionary" {
		t.Errorf("huge dictionary in the second stream: %v", err)
	}
}

// xzHuge is an xz file whose block header asks for 4 GiB.
func xzHuge(t *testing.T, data []byte) []byte {
	out := packXZ(t, data)
	i := bytes.Index(out[12:], []byte{0x21, 0x01})
	out[12+i+2] = 40
	return out
}

func TestTarLimits(t *testing.T) {
	huge := entry{tar.Header{Name: "huge", Typeflag: tar.TypeReg, Size: 10 << 40, Format: tar.FormatGNU}, ""}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&huge.Header); err != nil {
		t.Fatal(err)
	}
	x := file("x", "")
	x.PAXRecords = map[string]string{"SCHILY.xattr.user.x": strings.Repeat("v", 70000)}
	many := make([]entry, 20)
	for i := range many {
		many[i] = file(fmt.Sprintf("%d/%d", i, i), "0123456789")
	}
	for name, c := range map[string]struct {
		data []byte
		lim  rootfs.Limits
		want string
	}{
		"10 TiB header": {b.Bytes(), rootfs.Limits{}, "bytes of file contents"},
		"total":         {pack(t, many...), rootfs.Limits{MaxBytes: 150}, "bytes of"},
		"entries":       {pack(t, many...), rootfs.Limits{MaxEntries: 39}, "entries"},
		"implied":       {pack(t, file(strings.Repeat("d/", 50)+"f", "")), rootfs.Limits{MaxEntries: 50}, "entries"},
		"name":          {pack(t, file(strings.Repeat("d/", 3000)+"f", "")), rootfs.Limits{}, "bytes of the name"},
		"target":        {pack(t, other("l", tar.TypeSymlink, strings.Repeat("t", 5000))), rootfs.Limits{}, "bytes of the link's target"},
		"one xattr":     {pack(t, x), rootfs.Limits{}, "bytes of extended attribute user.x"},
		"metadata":      {pack(t, many...), rootfs.Limits{MaxMetaBytes: 30}, "bytes of metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := both(t, c.data, rootfs.TarOptions{Limits: c.lim})
			le, ok := errors.AsType[*rootfs.LimitError](err)
			if !ok || !strings.HasPrefix(le.What, c.want) {
				t.Errorf("got %v, want a LimitError about %s", err, c.want)
			}
		})
	}
}

// zeros is an archive of one file of so many zeros, in zstd.
func zeros(t *testing.T, size int64) []byte {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "bomb", Typeflag: tar.TypeReg, Size: size}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeroReader{}, size); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestZipBomb(t *testing.T) {
	data := zeros(t, 80<<20)
	_, err := rootfs.FromTar(t.Context(), bytes.NewReader(data), rootfs.TarOptions{TempDir: t.TempDir()})
	if le, ok := errors.AsType[*rootfs.LimitError](err); !ok || le.Limit != 250 || !strings.Contains(err.Error(), `entry 1 "bomb"`) {
		t.Errorf("%d bytes packed: %v", len(data), err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := rootfs.FromTar(t.Context(), bytes.NewReader(data), rootfs.TarOptions{TempDir: t.TempDir(), Limits: rootfs.Limits{MaxRatio: 1 << 30}})
	runtime.ReadMemStats(&after)
	if err != nil || got.Lookup("bomb").Size() != 80<<20 {
		t.Fatal(err)
	}
	defer got.Close()
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 40<<20 {
		t.Errorf("%d bytes were allocated for one file of 80 MiB", grown)
	}
}

func TestTarCancelAndTempDir(t *testing.T) {
	data := gz(pack(t, file("a", "x")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rootfs.FromTar(ctx, bytes.NewReader(data), rootfs.TarOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := rootfs.FromTar(t.Context(), bytes.NewReader(data), rootfs.TarOptions{TempDir: missing}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no temporary directory: %v", err)
	}
	if _, err := rootfs.OpenTar(t.Context(), missing, rootfs.TarOptions{}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing archive: %v", err)
	}
}

func TestTarFileThatShrinksLater(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(name, pack(t, file("a", strings.Repeat("x", 5000))), 0o644); err != nil {
		t.Fatal(err)
	}
	tree, err := rootfs.OpenTar(t.Context(), name, rootfs.TarOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := os.Truncate(name, 1024); err != nil {
		t.Fatal(err)
	}
	r, err := tree.Lookup("a").Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, rootfs.ErrChanged) {
		t.Error(err)
	}
}

func FuzzFromTar(f *testing.F) {
	plain := pack(f, file("a", "x"), other("l", tar.TypeLink, "a"), other("d/", tar.TypeDir, ""), other("s", tar.TypeSymlink, "../x"), file("d/.wh.x", ""))
	x := file("x", strings.Repeat("y", 1000))
	x.PAXRecords = map[string]string{"SCHILY.xattr.user.x": "v", "LIBARCHIVE.xattr.user.y": "AAA"}
	f.Add(plain)
	f.Add(pack(f, x))
	f.Add(gz(plain))
	f.Add(packXZ(f, plain))
	f.Add([]byte("\xfd7zXZ\x00\x00\x04"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x00"))
	f.Add([]byte("BZh91AY&SY"))
	lim := rootfs.Limits{MaxBytes: 1 << 20, MaxEntries: 1000}
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := rootfs.FromTar(t.Context(), bytes.NewReader(data), rootfs.TarOptions{Limits: lim, Whiteouts: true})
		if err != nil {
			return
		}
		defer tree.Close()
		for name, n := range tree.All() {
			if _, err := rootfs.Clean(name); err != nil {
				t.Fatal(err)
			}
			if n.Content == nil {
				continue
			}
			r, err := n.Content.Open()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.Copy(io.Discard, r); err != nil || got != n.Size() {
				t.Fatalf("%s: %d of %d bytes, %v", name, got, n.Size(), err)
			}
		}
	})
}
