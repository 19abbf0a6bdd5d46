package lz4_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	other "github.com/pierrec/lz4/v4"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/squashfs/lz4"
)

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

// input is content and whether its block gets shorter.
type input struct {
	in    []byte
	packs bool
}

// inputs are the edges: the shortest ones, the rules for the end of a block,
// lengths around the limits of a length byte, offsets around 64 KiB.
func inputs() map[string]input {
	noise := random(300 << 10)
	text := words(300 << 10)
	m := map[string]input{
		"empty":            {[]byte{}, false},
		"one byte":         {[]byte{7}, false},
		"12 equal":         {make([]byte, 12), false},
		"13 equal":         {make([]byte, 13), true}, // the shortest block with a match
		"13 different":     {[]byte("abcdefghijklm"), false},
		"match at the end": {[]byte("abcdefgh0123456789abcdefgh"), false}, // the last 5 are literals
		"zeros 1 MiB":      {make([]byte, 1<<20), true},
		"period 3":         {bytes.Repeat([]byte{1, 2, 3}, 50_000), true},
		"period 65535":     {bytes.Repeat(noise[:65535], 3), true},
		"period 65536":     {bytes.Repeat(noise[:65536], 3), false}, // too far for an offset
		"random":           {noise, false},
		"words":            {text, true},
		"words, noise":     {append(bytes.Clone(text), noise...), true},
		"noise, words":     {append(bytes.Clone(noise), text...), true},
	}
	for _, n := range []int{14, 15, 16, 18, 19, 20, 269, 270, 271, 273, 274, 275, 524, 525, 526, 65534, 65535, 65536, 200_000} {
		m["literals "+strconv.Itoa(n)] = input{append(bytes.Clone(noise[:n]), make([]byte, 4000)...), true}
		m["match "+strconv.Itoa(n)] = input{bytes.Join([][]byte{noise[:5], make([]byte, n), noise[5:30], make([]byte, n), noise[30:40]}, nil), true}
	}
	return m
}

func unpack(t testing.TB, block []byte, size int) []byte {
	t.Helper()
	out := make([]byte, size)
	n, err := other.UncompressBlock(block, out)
	if err != nil {
		t.Fatal(err)
	}
	return out[:n]
}

// checkEnd reads the block by the rules of its format and checks those that
// most decoders do not enforce, but the fastest rely on.
func checkEnd(t testing.TB, block []byte) {
	t.Helper()
	more := func(n int) int {
		if n < 15 {
			return n
		}
		for {
			b := block[0]
			block = block[1:]
			if n += int(b); b < 255 {
				return n
			}
		}
	}
	pos, start := 0, -1
	for {
		token := int(block[0])
		block = block[1:]
		lits := more(token >> 4)
		block = block[lits:]
		pos += lits
		if len(block) == 0 {
			if start >= 0 && (lits < 5 || pos-start < 12) {
				t.Errorf("the block ends with %d literals, %d bytes after the start of the last match", lits, pos-start)
			}
			return
		}
		start = pos
		offset := int(binary.LittleEndian.Uint16(block))
		block = block[2:]
		if offset == 0 || offset > pos {
			t.Fatalf("offset %d at %d", offset, pos)
		}
		pos += more(token&15) + 4
	}
}

func TestRoundTrip(t *testing.T) {
	e := lz4.NewEncoder(1 << 20)
	for name, c := range inputs() {
		t.Run(name, func(t *testing.T) {
			dst := []byte("before")
			got, ok := e.Encode(dst, c.in)
			if ok != c.packs {
				t.Fatalf("got %d of %d bytes, %v", len(got)-len(dst), len(c.in), ok)
			}
			got, appended := bytes.CutPrefix(got, dst)
			if !appended {
				t.Fatal("Encode does not append")
			}
			if !ok {
				if len(got) != 0 {
					t.Errorf("Encode appends %d bytes of nothing", len(got))
				}
				return
			}
			if len(got) >= len(c.in) {
				t.Errorf("%d bytes became %d", len(c.in), len(got))
			}
			if !bytes.Equal(unpack(t, got, len(c.in)), c.in) {
				t.Fatal("does not decode to the input")
			}
			checkEnd(t, got)
			if alone, _ := lz4.NewEncoder(1<<20).Encode(nil, c.in); !bytes.Equal(alone, got) {
				t.Error("an encoder that was used before gives other bytes")
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	e := lz4.NewEncoder(8 << 10)
	if got, ok := e.Encode(nil, make([]byte, 8<<10+1)); ok || len(got) != 0 {
		t.Errorf("got %d bytes, %v", len(got), ok)
	}
	if _, ok := e.Encode(nil, make([]byte, 8<<10)); !ok {
		t.Error("a full block is refused")
	}
}

// legacyFrame is the format that the lz4 program and the kernel's lz4 images
// share: a magic number, then each block behind its length.
func legacyFrame(blocks ...[]byte) []byte {
	out := binary.LittleEndian.AppendUint32(nil, 0x184c2102)
	for _, b := range blocks {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(b)))
		out = append(out, b...)
	}
	return out
}

// TestTool has the reference decoder read everything.
func TestTool(t *testing.T) {
	tool := testreq.Tool(t, "lz4")
	e := lz4.NewEncoder(1 << 20)
	for name, c := range inputs() {
		block, ok := e.Encode(nil, c.in)
		if !ok {
			continue
		}
		cmd := exec.Command(tool, "-dc")
		cmd.Stdin = bytes.NewReader(legacyFrame(block))
		got, err := cmd.Output()
		if err != nil || !bytes.Equal(got, c.in) {
			t.Errorf("%s: lz4 -dc gives %d bytes of %d, %v", name, len(got), len(c.in), err)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	e := lz4.NewEncoder(128 << 10)
	in := append(words(64<<10), random(64<<10)...)
	dst := make([]byte, 0, 128<<10)
	if n := testing.AllocsPerRun(3, func() { _, _ = e.Encode(dst, in) }); n != 0 {
		t.Errorf("%v allocations a block", n)
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("abcabcabcabcabcd"), uint8(1), uint16(0))
	f.Add([]byte{}, uint8(0), uint16(9))
	f.Add(words(2000), uint8(40), uint16(77))
	f.Add(random(500), uint8(3), uint16(500))
	encoders := []*lz4.Encoder{lz4.NewEncoder(4 << 10), lz4.NewEncoder(128 << 10)}
	f.Fuzz(func(t *testing.T, b []byte, repeat uint8, noise uint16) {
		in := append(bytes.Repeat(b, int(repeat)), random(int(noise))...)
		in = append(in, b...)
		for i, size := range []int{4 << 10, 128 << 10} {
			part := in[:min(len(in), size)]
			block, ok := encoders[i].Encode(nil, part)
			if !ok {
				continue
			}
			if len(block) >= len(part) || !bytes.Equal(unpack(t, block, len(part)), part) {
				t.Fatal("does not decode to the input")
			}
			checkEnd(t, block)
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

// reference is the size of b as lz4 -12 packs its blocks, without framing.
func reference(t testing.TB, b []byte) int {
	tool := testreq.Tool(t, "lz4")
	cmd := exec.Command(tool, "-12", "-BI", "-B"+strconv.Itoa(blockSize), "--no-frame-crc", "-c")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	const header, mark = 7, 4
	return len(out) - header - mark*((len(b)+blockSize-1)/blockSize+1)
}

func pack(e *lz4.Encoder, b, scratch []byte) (total int) {
	blocks(b, blockSize, func(block []byte) {
		out, ok := e.Encode(scratch[:0], block)
		if !ok {
			out = block
		}
		total += len(out)
	})
	return total
}

// TestSize holds the encoder to the size that it was made for.
func TestSize(t *testing.T) {
	b := corpus(t)
	want := reference(t, b)
	got := pack(lz4.NewEncoder(blockSize), b, make([]byte, 0, blockSize))
	ratio := float64(got) / float64(want)
	t.Logf("%d bytes, lz4 -12: %d, %.4f", got, want, ratio)
	if ratio > 1.005 {
		t.Errorf("%.4f of the size of lz4 -12, want at most 1.005", ratio)
	}
}

func BenchmarkEncode(b *testing.B) {
	data := corpus(b)
	want := reference(b, data)
	scratch := make([]byte, 0, blockSize)
	e := lz4.NewEncoder(blockSize)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var got int
	for b.Loop() {
		got = pack(e, data, scratch)
	}
	b.ReportMetric(float64(got)/float64(want), "of-lz4-12")
	b.ReportMetric(float64(got)/float64(len(data)), "ratio")
}
