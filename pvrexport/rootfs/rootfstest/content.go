package rootfstest

import (
	"io"
	"math/rand/v2"
	"slices"
)

// Flavour is what a Data is made of.
type Flavour uint8

// What data can look like to a compressor.
const (
	Noise Flavour = iota // does not compress
	Text                 // compresses about as well as source code
	Mixed                // every second block of 4 KiB is noise
)

// block is the unit in which contents are made.
const block = 4 << 10

// Data is a file's content that is made while it is read, so large files need
// no memory. Equal fields give equal bytes. Ranges in Holes are zero.
type Data struct {
	Seed    uint64
	Length  int64
	Flavour Flavour
	Holes   [][2]int64 // first byte, and the byte after the last
}

// Size returns the length.
func (d *Data) Size() int64 { return d.Length }

// Open returns a reader of the whole.
func (d *Data) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(d, 0, d.Length)), nil
}

// ReadAt makes any part.
func (d *Data) ReadAt(p []byte, off int64) (int, error) {
	if off >= d.Length {
		return 0, io.EOF
	}
	n := 0
	var buf [block]byte
	for n < len(p) && off < d.Length {
		d.fill(&buf, off/block)
		from := off % block
		k := copy(p[n:], buf[from:min(block, d.Length-off+from)])
		for _, h := range d.Holes {
			lo, hi := max(h[0]-off, 0), min(h[1]-off, int64(k))
			if lo < hi {
				clear(p[int64(n)+lo : int64(n)+hi])
			}
		}
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

var words = []string{"if err != nil {\n", "return ", "static ", "const char *", "include", "the ", "/usr/lib/", "\x00\x00\x00\x00", "struct ", "0x", "\n\t"}

func (d *Data) fill(buf *[block]byte, index int64) {
	if slices.ContainsFunc(d.Holes, func(h [2]int64) bool { return h[0] <= index*block && h[1] >= (index+1)*block }) {
		clear(buf[:])
		return
	}
	rnd := rand.New(rand.NewPCG(d.Seed, uint64(index)))
	if d.Flavour == Noise || d.Flavour == Mixed && index%2 == 0 {
		for i := 0; i < block; i += 8 {
			v := rnd.Uint64()
			for j := range 8 {
				buf[i+j] = byte(v >> (8 * j))
			}
		}
		return
	}
	for i := 0; i < block; {
		if rnd.IntN(4) == 0 {
			buf[i] = byte('a' + rnd.IntN(26))
			i++
			continue
		}
		i += copy(buf[i:], words[rnd.IntN(len(words))])
	}
}
