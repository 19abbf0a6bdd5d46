package xz_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	other "github.com/ulikunitz/xz"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/squashfs/xz"
)

var levels = map[string]xz.Level{"default": xz.Default, "smallest": xz.Smallest}

func random(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	r.Read(b)
	return b
}

// words is compressible, with matches of every kind of length and distance.
func words(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n+64)
	for len(b) < n {
		switch k := r.IntN(100); {
		case k < 30 && len(b) > 300:
			at := len(b) - 1 - r.IntN(len(b)-1)
			b = append(b, b[at:min(len(b), at+2+r.IntN(40))]...)
		case k < 32 && len(b) > 300: // farther than a match is long
			at := r.IntN(len(b) - 1)
			b = append(b, b[at:min(len(b), at+r.IntN(2000))]...)
		case k < 35:
			b = append(b, bytes.Repeat([]byte{byte(k)}, r.IntN(400))...)
		case k < 60:
			b = binary.LittleEndian.AppendUint32(b, uint32(len(b)>>4)<<8|7)
		default:
			b = append(b, "etaoin shrdlu"[r.IntN(13)])
		}
	}
	return b[:n]
}

// inputs are the edges: the shortest ones, limits of LZMA2 chunks, and
// changes between what compresses and what does not.
func inputs() map[string][]byte {
	noise := random(300 << 10)
	text := words(300 << 10)
	return map[string][]byte{
		"empty":            {},
		"one byte":         {7},
		"two bytes":        {7, 7},
		"three bytes":      []byte("aaa"),
		"four bytes":       []byte("abab"),
		"12 bytes":         []byte("abcabcabcabc"),
		"13 bytes":         []byte("abcabcabcabcd"),
		"17 different":     []byte("abcdefghijklmnopq"),
		"273 and one":      bytes.Repeat([]byte{1}, 274),
		"zeros 1 MiB":      make([]byte, 1<<20),
		"zeros 5 MiB":      make([]byte, 5<<20), // two chunks are full by their content
		"period 3":         bytes.Repeat([]byte{1, 2, 3}, 50_000),
		"period 70000":     bytes.Repeat(noise[:70_000], 4),
		"random 1":         noise[:1000],
		"random 64 KiB":    noise[:64<<10],
		"random 300 KiB":   noise,
		"words":            text,
		"words, noise":     append(bytes.Clone(text), noise...),
		"noise, words":     append(bytes.Clone(noise), text...),
		"noise in between": bytes.Join([][]byte{text[:1000], noise[:200_000], text, noise[:90_000], noise[:90_000], text}, nil),
		"gaps":             gaps(text[:20_000]),
		"nearly noise":     sparse(noise),
	}
}

// gaps repeats b with single bytes changed.
func gaps(b []byte) []byte {
	c := bytes.Clone(b)
	for i := 5; i < len(c); i += 11 {
		c[i]++
	}
	return append(bytes.Clone(b), c...)
}

// sparse makes noise compress by a little: chunks end by their packed size.
func sparse(noise []byte) []byte {
	c := bytes.Clone(noise)
	for i := 0; i < len(c); i += 3 {
		c[i] &= 0x3f
	}
	return c
}

func unpack(t testing.TB, packed []byte) []byte {
	t.Helper()
	r, err := other.ReaderConfig{SingleStream: true}.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatalf("header: %v", err)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("after %d bytes: %v", len(got), err)
	}
	return got
}

func TestRoundTrip(t *testing.T) {
	for level, l := range levels {
		e := xz.NewEncoder(6<<20, l)
		for name, in := range inputs() {
			t.Run(level+"/"+name, func(t *testing.T) {
				got, err := e.Encode([]byte("before"), in)
				if err != nil {
					t.Fatal(err)
				}
				got, ok := bytes.CutPrefix(got, []byte("before"))
				if !ok {
					t.Fatal("Encode does not append")
				}
				if !bytes.Equal(unpack(t, got), in) {
					t.Fatal("does not decode to the input")
				}
				if limit := len(in) + len(in)/(32<<10)*3 + 80; len(got) > limit {
					t.Errorf("%d bytes became %d", len(in), len(got))
				}
				alone, err := xz.NewEncoder(6<<20, l).Encode(nil, in)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(alone, got) {
					t.Error("an encoder that was used before gives other bytes")
				}
			})
		}
	}
}

// TestTool has liblzma read everything: it checks the container, too.
func TestTool(t *testing.T) {
	tool := testreq.Tool(t, "xz")
	var files, contents []byte
	e := xz.NewEncoder(6<<20, xz.Default)
	for _, in := range inputs() {
		var err error
		if files, err = e.Encode(files, in); err != nil {
			t.Fatal(err)
		}
		contents = append(contents, in...)
	}
	cmd := exec.Command(tool, "-dc")
	cmd.Stdin = bytes.NewReader(files)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("xz -dc: %v: %s", err, stderr.String())
	}
	if !bytes.Equal(got, contents) {
		t.Error("xz -dc gives other contents")
	}
}

// TestHeader checks what the kernel's squashfs asks for: CRC32 and a
// dictionary that is no larger than the block.
func TestHeader(t *testing.T) {
	for _, size := range []int{4 << 10, 8 << 10, 64 << 10, 128 << 10, 1 << 20} {
		got, err := xz.NewEncoder(size, xz.Default).Encode(nil, []byte("content"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(got, []byte("\xfd7zXZ\x00\x00\x01")) {
			t.Errorf("%d: starts with % x", size, got[:8])
		}
		// Block header of 12 bytes: size, flags, filter 0x21 with 1 byte.
		if !bytes.Equal(got[12:16], []byte{2, 0, 0x21, 1}) {
			t.Fatalf("%d: block header % x", size, got[12:24])
		}
		code := got[16]
		if dict := (2 | int(code)&1) << (code/2 + 11); dict != size {
			t.Errorf("dictionary of %d for blocks of %d", dict, size)
		}
		if want := crc32.ChecksumIEEE([]byte("content")); !bytes.Contains(got, binary.LittleEndian.AppendUint32(nil, want)) {
			t.Errorf("%d: no CRC32 of the content", size)
		}
	}
}

func TestTooLarge(t *testing.T) {
	e := xz.NewEncoder(8<<10, xz.Default)
	dst := []byte("before")
	got, err := e.Encode(dst, make([]byte, 8<<10+1))
	if !errors.Is(err, xz.ErrTooLarge) || string(got) != "before" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := e.Encode(nil, make([]byte, 8<<10)); err != nil {
		t.Errorf("a full block: %v", err)
	}
}

func TestNoAllocations(t *testing.T) {
	e := xz.NewEncoder(128<<10, xz.Default)
	in := append(words(64<<10), random(64<<10)...)
	dst := make([]byte, 0, 256<<10)
	if n := testing.AllocsPerRun(3, func() { _, _ = e.Encode(dst, in) }); n != 0 {
		t.Errorf("%v allocations a block", n)
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("abcabcabcabcabcd"), uint8(1), uint16(0))
	f.Add([]byte{}, uint8(0), uint16(9))
	f.Add(words(2000), uint8(40), uint16(77))
	f.Add(random(500), uint8(3), uint16(500))
	encoders := []*xz.Encoder{xz.NewEncoder(64<<10, xz.Default), xz.NewEncoder(64<<10, xz.Smallest)}
	f.Fuzz(func(t *testing.T, b []byte, repeat uint8, noise uint16) {
		in := append(bytes.Repeat(b, int(repeat)), random(int(noise))...)
		in = append(in, b...)
		in = in[:min(len(in), 64<<10)]
		for _, e := range encoders {
			packed, err := e.Encode(nil, in)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(unpack(t, packed), in) {
				t.Fatal("does not decode to the input")
			}
		}
	})
}

// corpus is a program and sources, from the Go installation.
func corpus(t testing.TB) []byte {
	t.Helper()
	out, err := exec.Command(testreq.Tool(t, "go"), "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := strings.TrimSpace(string(out))
	exe, err := os.ReadFile(filepath.Join(root, "bin", "go"))
	if err != nil {
		t.Fatal(err)
	}
	b := append(bytes.Clone(exe[:1<<20]), exe[len(exe)/2:len(exe)/2+1<<20]...)
	sources, err := filepath.Glob(filepath.Join(root, "src", "net", "http", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		src, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, src...)
	}
	return b[:min(len(b), 3<<20)]
}

// blocks calls f for every block of b.
func blocks(b []byte, size int, f func([]byte)) {
	for i := 0; i < len(b); i += size {
		f(b[i:min(len(b), i+size)])
	}
}

const blockSize = 128 << 10

// liblzma is the size of b as xz -6 packs its blocks one by one.
func liblzma(t testing.TB, b []byte) (total int) {
	tool := testreq.Tool(t, "xz")
	blocks(b, blockSize, func(block []byte) {
		cmd := exec.Command(tool, "-6", "--check=crc32", "-c")
		cmd.Stdin = bytes.NewReader(block)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		total += len(out)
	})
	return total
}

func pack(t testing.TB, e *xz.Encoder, b, scratch []byte) (total int) {
	blocks(b, blockSize, func(block []byte) {
		out, err := e.Encode(scratch[:0], block)
		if err != nil {
			t.Fatal(err)
		}
		total += len(out)
	})
	return total
}

// TestSize holds the encoder to the size that it was made for.
func TestSize(t *testing.T) {
	b := corpus(t)
	want := liblzma(t, b)
	for name, limit := range map[string]float64{"default": 1.02, "smallest": 1.005} {
		got := pack(t, xz.NewEncoder(blockSize, levels[name]), b, make([]byte, 0, 2*blockSize))
		ratio := float64(got) / float64(want)
		t.Logf("%s: %d bytes, xz -6: %d, %.4f", name, got, want, ratio)
		if ratio > limit {
			t.Errorf("%s: %.4f of the size of xz -6, want at most %.3f", name, ratio, limit)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	data := corpus(b)
	want := liblzma(b, data)
	scratch := make([]byte, 0, 2*blockSize)
	for name, l := range levels {
		b.Run(name, func(b *testing.B) {
			e := xz.NewEncoder(blockSize, l)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var got int
			for b.Loop() {
				got = pack(b, e, data, scratch)
			}
			b.ReportMetric(float64(got)/float64(want), "of-xz-6")
			b.ReportMetric(float64(got)/float64(len(data)), "ratio")
		})
	}
}
