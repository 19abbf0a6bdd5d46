package storage_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/storage"
)

func TestBoot(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	file := filepath.Join(dir, "boot/uboot.txt")
	if _, err := s.Boot(); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("before the first: %v", err)
	}
	for _, c := range []struct {
		boot storage.Boot
		want string
	}{
		{storage.Boot{Rev: "0"}, "pv_rev=0\x00\x00"},
		{storage.Boot{Rev: "locals/a", Try: "locals/b"}, "pv_rev=locals/a\x00pv_try=locals/b\x00\x00"},
	} {
		if err := s.SetBoot(c.boot); err != nil {
			t.Fatal(err)
		}
		if got := readFile(t, file); got != c.want {
			t.Errorf("%v: %q", c.boot, got)
		}
		if got, err := s.Boot(); err != nil || got != c.boot {
			t.Errorf("%v: read %v, %v", c.boot, got, err)
		}
	}
	for _, b := range []storage.Boot{{}, {Rev: "../x"}, {Rev: "0", Try: "a\x00b"}} {
		if err := s.SetBoot(b); !errors.Is(err, storage.ErrBootState) {
			t.Errorf("%q: %v", b, err)
		}
	}
	if got := readFile(t, file); !strings.HasPrefix(got, "pv_rev=locals/a") {
		t.Errorf("a refused state was written: %q", got)
	}
}

// padded is what the C writer makes of entries: 64 KiB with zeros.
func padded(entries ...string) []byte {
	out := make([]byte, 0, 64<<10)
	for _, e := range entries {
		out = append(append(out, e...), 0)
	}
	return out[:64<<10]
}

func TestDecodeBoot(t *testing.T) {
	for _, c := range []struct {
		name string
		src  []byte
		want storage.Boot
	}{
		{"by the shell", []byte("pv_rev=0\x00\x00"), storage.Boot{Rev: "0"}},
		{"by the C writer", padded("pv_rev=0", "pv_try=locals/a"), storage.Boot{Rev: "0", Try: "locals/a"}},
		{"the writer appends what it changes", padded("pv_try=locals/a", "pv_rev=3"), storage.Boot{Rev: "3", Try: "locals/a"}},
		{"unset", padded("pv_rev=3", "pv_try="), storage.Boot{Rev: "3"}},
		{"others", padded("x=1", "pv_rev=3", "junk"), storage.Boot{Rev: "3"}},
		{"without an end", []byte("pv_rev=3"), storage.Boot{Rev: "3"}},
		{"erased flash", []byte("pv_rev=3\x00\xff\xff\xff"), storage.Boot{Rev: "3"}},
		{"by an editor", []byte("pv_rev=3\n"), storage.Boot{Rev: "3"}},
	} {
		if got, err := storage.DecodeBoot(c.src); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	for _, src := range []string{"", "\x00\x00", "pv_try=a\x00", "pv_rev=../x\x00", "pv_rev=0\x00pv_try=/\x00", "pv_rev=0\x00" + strings.Repeat("\x00", 64<<10)} {
		if _, err := storage.DecodeBoot([]byte(src)); !errors.Is(err, storage.ErrBootState) {
			t.Errorf("%.20q: %v", src, err)
		}
	}
}

func TestDamagedBootFileNamesItself(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	file := filepath.Join(dir, "boot/uboot.txt")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Boot(); !errors.Is(err, storage.ErrBootState) || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecodeBoot(f *testing.F) {
	f.Add([]byte("pv_rev=0\x00pv_try=locals/a\x00\x00"))
	f.Add(padded("pv_try=1", "pv_rev=0"))
	f.Add([]byte("pv_rev=\xff\x00"))
	f.Fuzz(func(t *testing.T, src []byte) {
		b, err := storage.DecodeBoot(src)
		if err != nil {
			if !errors.Is(err, storage.ErrBootState) {
				t.Errorf("%v", err)
			}
			return
		}
		out, err := b.Encode()
		if err != nil {
			t.Fatalf("%v cannot be written: %v", b, err)
		}
		again, err := storage.DecodeBoot(out)
		if err != nil || again != b {
			t.Fatalf("%v becomes %v, %v", b, again, err)
		}
		if n := bytes.Count(out, []byte{0}); n > 3 {
			t.Errorf("%q has %d NULs", out, n)
		}
	})
}
