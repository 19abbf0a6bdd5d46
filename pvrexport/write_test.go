package pvrexport_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pvkit/pvkit/pvrexport"
)

// sample returns a state with some objects, two of them with the same content,
// and a source of them.
func sample(t testing.TB) (*pvrexport.State, *pvrexport.Memory) {
	t.Helper()
	s, objects := pvrexport.NewState(), &pvrexport.Memory{}
	for key, content := range map[string]string{
		"app/root.squashfs":      strings.Repeat("hsqs", 3000),
		"app/lxc.container.conf": "lxc.tty.max = 8\n",
		"app/empty":              "",
		"app/twin":               "lxc.tty.max = 8\n",
	} {
		put(t, s, objects, key, content)
	}
	v, err := pvrexport.JSONValue([]byte(`{"#spec":"service-manifest-run@1","name":"app","type":"lxc","config":"lxc.container.conf","root-volume":"root.squashfs","volumes":[]}`))
	if err == nil {
		err = s.Set("app/run.json", v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, objects
}

func put(t testing.TB, s *pvrexport.State, objects *pvrexport.Memory, key, content string) {
	t.Helper()
	id := pvrexport.ObjectID([]byte(content))
	objects.Put(id, []byte(content))
	v, err := pvrexport.ObjectValue(id)
	if err == nil {
		err = s.Set(key, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, s *pvrexport.State, src pvrexport.ObjectSource, opts pvrexport.WriteOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := pvrexport.Write(context.Background(), &out, s, src, opts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func unpack(t *testing.T, c pvrexport.Compression, packed []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(packed)
	var err error
	switch c {
	case pvrexport.Gzip:
		r, err = gzip.NewReader(r)
	case pvrexport.Zstd:
		r, err = zstd.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestWriteLayout(t *testing.T) {
	s, objects := sample(t)
	when := time.Date(2024, 2, 3, 4, 5, 6, 789, time.FixedZone("x", 7200))
	for _, c := range []pvrexport.Compression{pvrexport.Gzip, pvrexport.Zstd, pvrexport.None} {
		t.Run(c.String(), func(t *testing.T) {
			opts := pvrexport.WriteOptions{ModTime: when, Compression: c}
			packed := write(t, s, objects, opts)
			if again := write(t, s.Clone(), objects, opts); !bytes.Equal(packed, again) {
				t.Error("the second time the bytes differ")
			}
			if c == pvrexport.Gzip && !bytes.HasPrefix(packed, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0}) {
				t.Errorf("the gzip header names something: % x", packed[:10])
			}
			plain := unpack(t, c, packed)
			names := []string{"json"}
			for _, id := range s.Objects() {
				names = append(names, "objects/"+id)
			}
			tr := tar.NewReader(bytes.NewReader(plain))
			for _, name := range names {
				h, err := tr.Next()
				if err != nil {
					t.Fatal(err)
				}
				if h.Name != name || h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.Uname+h.Gname != "" ||
					!h.ModTime.Equal(when.Truncate(time.Second)) || h.Format != tar.FormatUSTAR || h.Typeflag != tar.TypeReg {
					t.Errorf("got %+v, want %s", h, name)
				}
				content, err := io.ReadAll(tr)
				if err != nil {
					t.Fatal(err)
				}
				if name == "json" && !bytes.Equal(content, s.Encode()) {
					t.Errorf("state: %s", content)
				}
			}
			if _, err := tr.Next(); err != io.EOF {
				t.Errorf("after the last entry: %v", err)
			}
		})
	}
}

// TestWriteBytes pins the bytes of a bundle that is part image, part text. They
// must be the same on every platform and whatever the number of processors; a
// change means that a new version of the compressor makes other bundles.
func TestWriteBytes(t *testing.T) {
	s, objects := sample(t)
	noise := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(noise)
	put(t, s, objects, "app/noise", string(noise))
	put(t, s, objects, "app/text", strings.Repeat("every good boy does fine\n", 50000)+string(noise[:1000]))
	for _, c := range []struct {
		opts pvrexport.WriteOptions
		want string
	}{
		{pvrexport.WriteOptions{}, "b278b2ee177f21cc"},
		{pvrexport.WriteOptions{Level: 9}, "d4c7a0bf4107b1a2"},
		{pvrexport.WriteOptions{Compression: pvrexport.Zstd}, "f64f1c8be6413211"},
		{pvrexport.WriteOptions{Compression: pvrexport.None}, "2327025b9147d365"},
	} {
		for _, procs := range []int{1, 8} {
			old := runtime.GOMAXPROCS(procs)
			got := pvrexport.ObjectID(write(t, s, objects, c.opts))[:16]
			runtime.GOMAXPROCS(old)
			if got != c.want {
				t.Errorf("%v, level %d, %d processors: %s, want %s", c.opts.Compression, c.opts.Level, procs, got, c.want)
			}
		}
	}
}

// lying hands out other content than the one asked for.
type lying struct {
	content string
	size    int64
}

func (l lying) OpenObject(string) (io.ReadCloser, int64, error) {
	return io.NopCloser(strings.NewReader(l.content)), l.size, nil
}

type failing struct{ error }

func (f failing) OpenObject(string) (io.ReadCloser, int64, error) { return nil, 0, f.error }

func TestWriteRefuses(t *testing.T) {
	s, objects := sample(t)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	early, _ := sample(t)
	if err := early.Set(" first", pvrexport.StringValue("x")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		ctx  context.Context
		s    *pvrexport.State
		src  pvrexport.ObjectSource
		opts pvrexport.WriteOptions
		want string
	}{
		{"missing", nil, s, &pvrexport.Memory{}, pvrexport.WriteOptions{}, "the object is missing"},
		{"missing file", nil, s, pvrexport.Dir(t.TempDir()), pvrexport.WriteOptions{}, "the object is missing"},
		{"other error", nil, s, failing{errors.New("disk on fire")}, pvrexport.WriteOptions{}, "disk on fire"},
		{"digest", nil, s, lying{"abc", 3}, pvrexport.WriteOptions{}, "the content has the digest ba7816bf"},
		{"short", nil, s, lying{"abc", 4}, pvrexport.WriteOptions{}, "announced with 4 bytes, has 3"},
		{"long", nil, s, lying{"abc", 2}, pvrexport.WriteOptions{}, "announced with 2 bytes, has more"},
		{"8 GiB", nil, s, lying{"", 1 << 33}, pvrexport.WriteOptions{}, "devices read less than 8 GiB"},
		{"cancelled", cancelled, s, objects, pvrexport.WriteOptions{}, "context canceled"},
		{"level", nil, s, objects, pvrexport.WriteOptions{Level: 10}, "gzip level 10"},
		{"compression", nil, s, objects, pvrexport.WriteOptions{Compression: 9}, "unknown compression 9"},
		{"before #spec", nil, early, objects, pvrexport.WriteOptions{}, `key " first" sorts before "#spec"`},
		{"before 1970", nil, s, objects, pvrexport.WriteOptions{ModTime: time.Unix(-5, 0)}, "ModTime"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := c.ctx
			if ctx == nil {
				ctx = context.Background()
			}
			err := pvrexport.Write(ctx, io.Discard, c.s, c.src, c.opts)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	if err := pvrexport.Write(context.Background(), fullDisk{}, s, objects, pvrexport.WriteOptions{}); !errors.Is(err, errFull) {
		t.Errorf("full disk: %v", err)
	}
}

var errFull = errors.New("no space left")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestDir(t *testing.T) {
	root := filepath.Join(t.TempDir(), "objects")
	dir := pvrexport.Dir(root)
	id := pvrexport.ObjectID([]byte("abc"))
	for _, keep := range []bool{false, true} {
		w, err := dir.CreateObject(id, 3)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "abc"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := dir.OpenObject(id); !errors.Is(err, pvrexport.ErrMissingObject) {
			t.Errorf("before commit: %v", err)
		}
		if keep {
			if err := w.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		w.Abort()
	}
	r, size, err := dir.OpenObject(id)
	if err != nil || size != 3 {
		t.Fatalf("%d %v", size, err)
	}
	if b, err := io.ReadAll(r); string(b) != "abc" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 1 || entries[0].Name() != id {
		t.Errorf("left: %v %v", entries, err)
	}
	if _, err := dir.CreateObject("../x", 0); !errors.Is(err, pvrexport.ErrObjectID) {
		t.Errorf("got %v", err)
	}
	if _, _, err := dir.OpenObject("../x"); !errors.Is(err, pvrexport.ErrObjectID) {
		t.Errorf("got %v", err)
	}
}

// bigSample has objects of incompressible bytes, as images are.
func bigSample(b *testing.B, size int) (*pvrexport.State, *pvrexport.Memory) {
	b.Helper()
	s, objects := pvrexport.NewState(), &pvrexport.Memory{}
	random := rand.NewChaCha8([32]byte{1})
	for i := range 4 {
		content := make([]byte, size/4)
		_, _ = random.Read(content)
		put(b, s, objects, fmt.Sprintf("app/%d.squashfs", i), string(content))
	}
	return s, objects
}

func BenchmarkWrite(b *testing.B) {
	const size = 64 << 20
	s, objects := bigSample(b, size)
	for _, opts := range []pvrexport.WriteOptions{
		{Compression: pvrexport.None}, {Level: 1}, {Level: 6}, {Level: 9}, {Compression: pvrexport.Zstd},
	} {
		b.Run(fmt.Sprintf("%v-%d", opts.Compression, opts.Level), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if err := pvrexport.Write(context.Background(), io.Discard, s, objects, opts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
