package pvrexport_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"compress/gzip"

	"github.com/pvkit/pvkit/pvrexport"
)

// item is an entry of a hand-made archive.
type item struct {
	name, content string
	header        tar.Header // Name, Size and Typeflag are filled in
}

func archiveOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	for _, it := range items {
		h := it.header
		if h.Typeflag != tar.TypeXGlobalHeader { // has only records
			h.Name, h.Size, h.Mode = it.name, int64(len(it.content)), 0o644
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, it.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipped(t testing.TB, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	if _, err := zw.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// one is a state with one object, as entries.
func one() (state, object item) {
	id := pvrexport.ObjectID([]byte("abc"))
	return item{name: "json", content: `{` + spec + `,"app/x":"` + id + `"}`}, item{name: "objects/" + id, content: "abc"}
}

func TestImportRoundTrip(t *testing.T) {
	s, objects := sample(t)
	for _, c := range []pvrexport.Compression{pvrexport.Gzip, pvrexport.Zstd, pvrexport.None} {
		t.Run(c.String(), func(t *testing.T) {
			packed := write(t, s, objects, pvrexport.WriteOptions{Compression: c})
			root := t.TempDir()
			got, err := pvrexport.Import(context.Background(), bytes.NewReader(packed), pvrexport.Dir(root), pvrexport.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if d := pvrexport.Diff(s, got); d != nil || !got.Canonical() {
				t.Errorf("differences: %v", d)
			}
			entries, err := os.ReadDir(root)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, e := range entries {
				ids = append(ids, e.Name())
				if st, err := e.Info(); err != nil || st.Mode() != 0o644 {
					t.Errorf("mode of %s: %v %v", e.Name(), st.Mode(), err)
				}
			}
			if !slices.Equal(ids, s.Objects()) {
				t.Errorf("objects: %v", ids)
			}
			if again := write(t, got, pvrexport.Dir(root), pvrexport.WriteOptions{Compression: c}); !bytes.Equal(again, packed) {
				t.Error("writing what was imported gives other bytes")
			}
		})
	}
}

func TestImportTolerates(t *testing.T) {
	st, ob := one()
	pax := item{name: ob.name, content: ob.content, header: tar.Header{Format: tar.FormatPAX, PAXRecords: map[string]string{"comment": "x"}}}
	dir := func(name string) item { return item{name: name, header: tar.Header{Typeflag: tar.TypeDir}} }
	for name, plain := range map[string][]byte{
		"state last":         archiveOf(t, ob, st),
		"object twice":       archiveOf(t, st, ob, ob),
		"dot slash":          archiveOf(t, dir("./"), item{name: "./" + st.name, content: st.content}, dir("./objects/"), item{name: "./" + ob.name, content: ob.content}),
		"directory":          archiveOf(t, st, dir("objects/"), ob),
		"pax":                archiveOf(t, st, pax),
		"no end":             bytes.TrimRight(archiveOf(t, st, ob), "\x00"),
		"padded":             append(archiveOf(t, st, ob), make([]byte, 20000)...),
		"not canonical":      archiveOf(t, item{name: "json", content: strings.Replace(st.content, `:`, ` : `, 1)}, ob),
		"global pax header":  archiveOf(t, item{header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}}, st, ob),
		"gnu format":         archiveOf(t, item{name: st.name, content: st.content, header: tar.Header{Format: tar.FormatGNU}}, ob),
		"no objects at all":  archiveOf(t, item{name: "json", content: "{" + spec + "}"}),
		"gzip in two pieces": append(gzipped(t, archiveOf(t, st, ob)[:700]), gzipped(t, archiveOf(t, st, ob)[700:])...),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "no end" { // content padding must stay
				plain = append(plain, make([]byte, 512-len(plain)%512)...)
			}
			var m pvrexport.Memory
			s, err := pvrexport.Import(context.Background(), bytes.NewReader(plain), &m, pvrexport.Limits{})
			if err != nil || m.Len() != len(s.Objects()) {
				t.Errorf("%d objects, %v", m.Len(), err)
			}
		})
	}
}

// forged changes the size field of the first header and mends its checksum.
func forged(plain []byte, size string) []byte {
	plain = bytes.Clone(plain)
	copy(plain[124:136], size)
	copy(plain[148:156], "        ")
	sum := 0
	for _, b := range plain[:512] {
		sum += int(b)
	}
	copy(plain[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return plain
}

func TestImportRefuses(t *testing.T) {
	st, ob := one()
	good := archiveOf(t, st, ob)
	packed := gzipped(t, good)
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	other := item{name: "objects/" + pvrexport.ObjectID([]byte("other")), content: "other"}
	with := func(name string, h tar.Header) []byte { return archiveOf(t, st, item{name: name, header: h}) }
	// The size fields say 10 TB: base 256, as GNU tar writes numbers that do
	// not fit into octal digits.
	tenTB := "\x80\x00\x00\x00\x00\x00\x09\x18\x4e\x72\xa0\x00"
	sparse := archiveOf(t, st, item{name: ob.name, content: strings.Repeat("\x00", 1024), header: tar.Header{
		Format: tar.FormatPAX, PAXRecords: map[string]string{"VENDOR.x": "000000000"}}})
	sparse = bytes.ReplaceAll(sparse, []byte("22 VENDOR.x=000000000\n"), []byte("22 GNU.sparse.major=1\n"))

	for _, c := range []struct {
		name  string
		in    []byte
		is    error
		entry string
		text  string
	}{
		{"empty", nil, pvrexport.ErrNoState, "", "at byte 0"},
		{"text", []byte("hello"), pvrexport.ErrFormat, "", ""},
		{"other file", bytes.Repeat([]byte("hello"), 1000), pvrexport.ErrFormat, "", ""},
		{"truncated gzip", packed[:len(packed)-20], pvrexport.ErrTruncated, ob.name, ""},
		{"truncated in gzip's trailer", packed[:len(packed)-4], pvrexport.ErrTruncated, "", ""},
		{"flipped gzip checksum", flip(packed, len(packed)-6), nil, "", "the archive is damaged"},
		{"data behind gzip", append(bytes.Clone(packed), "garbage!!!"...), pvrexport.ErrTrailing, "", ""},
		{"truncated tar", good[:len(good)-1536-200], pvrexport.ErrTruncated, "", ""},
		{"truncated content", good[:1024+512+1], pvrexport.ErrTruncated, ob.name, ""},
		{"flipped tar header", flip(good, 1024+3), nil, "", "at byte 1536: the archive is damaged"},
		{"flipped content", flip(good, 1024+512), nil, ob.name, "at byte 1024: object ba7816bf"},
		{"data behind tar", append(bytes.Clone(good), "garbage"...), pvrexport.ErrTrailing, "", "at byte 3072"},
		{"no state", archiveOf(t, ob), pvrexport.ErrNoState, "", ""},
		{"two states", archiveOf(t, st, ob, st), pvrexport.ErrTwoStates, "json", "at byte 2048"},
		{"a bad state", archiveOf(t, item{name: "json", content: "{"}), nil, "json", "line 1, column 2"},
		{"a state that climbs", archiveOf(t, item{name: "json", content: "{" + spec + `,"../x":1}`}), nil, "json", `key "../x" has the part ".."`},
		{"unknown object", archiveOf(t, st, ob, other), pvrexport.ErrUnknownObject, other.name, ""},
		{"unknown object, state last", archiveOf(t, other, ob, st), pvrexport.ErrUnknownObject, other.name, "at byte 0"},
		{"missing object", archiveOf(t, st), pvrexport.ErrMissingObject, ob.name, ""},
		{"lying digest", archiveOf(t, st, item{name: ob.name, content: "abd"}), nil, ob.name, "the content has the digest a52d159f"},
		{"lying digest, second copy", archiveOf(t, st, ob, item{name: ob.name, content: "abd"}), nil, ob.name, "has the digest a52d159f"},
		{"climbing", with("../etc/passwd", tar.Header{}), pvrexport.ErrEntryName, "../etc/passwd", ""},
		{"climbing object", with("objects/../json", tar.Header{}), pvrexport.ErrEntryName, "objects/../json", ""},
		{"absolute", with("/json", tar.Header{}), pvrexport.ErrEntryName, "/json", ""},
		{"upper case", with("objects/"+strings.Repeat("A", 64), tar.Header{}), pvrexport.ErrEntryName, "objects/" + strings.Repeat("A", 64), ""},
		{"stray file", with("README", tar.Header{}), pvrexport.ErrEntryName, "README", ""},
		{"stray directory", with("tmp/", tar.Header{Typeflag: tar.TypeDir}), pvrexport.ErrEntryType, "tmp/", "it is a directory"},
		{"symlink", with(ob.name, tar.Header{Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), pvrexport.ErrEntryType, ob.name, "it is a symbolic link"},
		{"hard link", with(ob.name, tar.Header{Typeflag: tar.TypeLink, Linkname: "json"}), pvrexport.ErrEntryType, ob.name, "it is a hard link"},
		{"device", with(ob.name, tar.Header{Typeflag: tar.TypeChar, Devmajor: 1}), pvrexport.ErrEntryType, ob.name, "it is a device"},
		{"fifo", with(ob.name, tar.Header{Typeflag: tar.TypeFifo}), pvrexport.ErrEntryType, ob.name, "it is a fifo"},
		{"sparse", sparse, pvrexport.ErrEntryType, ob.name, "it is a sparse file"},
		{"10 TB state", forged(good, tenTB), pvrexport.ErrLimit, "json", "the state has 10000000000000 bytes"},
		{"10 TB object", forged(archiveOf(t, ob), tenTB), pvrexport.ErrLimit, ob.name, "the object has 10000000000000 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			_, err := pvrexport.Import(context.Background(), bytes.NewReader(c.in), pvrexport.Dir(root), pvrexport.Limits{})
			e, ok := errors.AsType[*pvrexport.EntryError](err)
			if !ok || e.Entry != c.entry || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v; want %v at %q with %q", err, c.is, c.entry, c.text)
			}
			left, _ := filepath.Glob(filepath.Join(root, ".*"))
			if len(left) > 0 {
				t.Errorf("temporary files stay: %v", left)
			}
		})
	}
}

func TestImportLimits(t *testing.T) {
	s, objects := sample(t)
	// 64 MiB of zeros, 1 MiB more than allowed, in a few KiB.
	bomb := gzipped(t, archiveOf(t, item{name: "objects/" + idA, content: strings.Repeat("\x00", 64<<20)}))
	for _, c := range []struct {
		name string
		in   []byte
		lim  pvrexport.Limits
		want string
	}{
		{"objects", write(t, s, objects, pvrexport.WriteOptions{}), pvrexport.Limits{Objects: 2}, "more than 2 objects"},
		{"object size", write(t, s, objects, pvrexport.WriteOptions{}), pvrexport.Limits{ObjectSize: 11999}, "the object has 12000 bytes, more than 11999"},
		{"bomb", bomb, pvrexport.Limits{TotalSize: 63 << 20}, "the archive is larger than 66060288 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := pvrexport.Import(context.Background(), bytes.NewReader(c.in), pvrexport.Discard, c.lim)
			if !errors.Is(err, pvrexport.ErrLimit) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// brokenSink fails to take an object in.
type brokenSink struct{}

func (brokenSink) CreateObject(string, int64) (pvrexport.ObjectWriter, error) {
	return brokenWriter{}, nil
}

type brokenWriter struct{ fullDisk }

func (brokenWriter) Commit() error { return nil }
func (brokenWriter) Abort()        {}

func TestImportErrorsOfOthers(t *testing.T) {
	s, objects := sample(t)
	packed := write(t, s, objects, pvrexport.WriteOptions{})
	if _, err := pvrexport.Import(context.Background(), bytes.NewReader(packed), brokenSink{}, pvrexport.Limits{}); !errors.Is(err, errFull) {
		t.Errorf("sink: %v", err)
	}
	disk := errors.New("bad sector")
	r := io.MultiReader(bytes.NewReader(packed[:100]), errReader{disk})
	_, err := pvrexport.Import(context.Background(), r, pvrexport.Discard, pvrexport.Limits{})
	if _, damaged := errors.AsType[*pvrexport.EntryError](err); damaged || !errors.Is(err, disk) {
		t.Errorf("source: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := pvrexport.Import(ctx, bytes.NewReader(packed), pvrexport.Discard, pvrexport.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("context: %v", err)
	}
}

type errReader struct{ error }

func (e errReader) Read([]byte) (int, error) { return 0, e.error }

func TestBundle(t *testing.T) {
	s, objects := sample(t)
	packed := write(t, s, objects, pvrexport.WriteOptions{})
	name, temp := filepath.Join(t.TempDir(), "x.tgz"), t.TempDir()
	if err := os.WriteFile(name, packed, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := pvrexport.OpenBundle(context.Background(), name, temp, pvrexport.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("the temporary file has a name: %v", left)
	}
	if want := (pvrexport.Info{Compression: pvrexport.Gzip, Size: 16896, Objects: 3, ObjectSize: 12016}); b.Info != want {
		t.Errorf("info: %+v", b.Info)
	}
	v, _ := b.State.Get("app/lxc.container.conf")
	id, _ := v.Object()
	o, err := b.Object(id)
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, 3)
	if _, err := o.ReadAt(content, 4); err != nil || string(content) != "tty" {
		t.Errorf("%q %v", content, err)
	}
	if _, err := b.Object(idA); !errors.Is(err, pvrexport.ErrMissingObject) {
		t.Errorf("got %v", err)
	}
	if again := write(t, b.State, b, pvrexport.WriteOptions{}); !bytes.Equal(again, packed) {
		t.Error("writing the bundle again gives other bytes")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := pvrexport.OpenBundle(context.Background(), name+".no", temp, pvrexport.Limits{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(name, packed[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pvrexport.OpenBundle(context.Background(), name, temp, pvrexport.Limits{}); !errors.Is(err, pvrexport.ErrTruncated) {
		t.Errorf("got %v", err)
	}
}

func FuzzImport(f *testing.F) {
	s, objects := sample(f)
	for _, c := range []pvrexport.Compression{pvrexport.Gzip, pvrexport.Zstd, pvrexport.None} {
		f.Add(write(f, s, objects, pvrexport.WriteOptions{Compression: c}))
	}
	st, ob := one()
	f.Add(archiveOf(f, ob, st))
	f.Add(forged(archiveOf(f, st, ob), "\x80\x00\x00\x00\x00\x00\x09\x18\x4e\x72\xa0\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		lim := pvrexport.Limits{TotalSize: 8 << 20}
		var m pvrexport.Memory
		s, err := pvrexport.Import(context.Background(), bytes.NewReader(in), &m, lim)
		if err != nil {
			return
		}
		for _, id := range s.Objects() {
			r, _, err := m.OpenObject(id)
			if err != nil {
				t.Fatal(err)
			}
			if content, _ := io.ReadAll(r); pvrexport.ObjectID(content) != id {
				t.Fatalf("object %s is not what it says", id)
			}
		}
		var packed bytes.Buffer
		err = pvrexport.Write(context.Background(), &packed, s, &m, pvrexport.WriteOptions{})
		if _, early := errors.AsType[*pvrexport.KeyError](err); early {
			return // a key before "#spec" can be read and not written
		}
		again, err := pvrexport.Import(context.Background(), &packed, pvrexport.Discard, pvrexport.Limits{})
		if err != nil || len(pvrexport.Diff(s, again)) > 0 {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}

func BenchmarkImport(b *testing.B) {
	const size = 64 << 20
	s, objects := bigSample(b, size)
	for _, c := range []pvrexport.Compression{pvrexport.Gzip, pvrexport.Zstd, pvrexport.None} {
		packed := write(b, s, objects, pvrexport.WriteOptions{Compression: c})
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pvrexport.Import(context.Background(), bytes.NewReader(packed), pvrexport.Discard, pvrexport.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
