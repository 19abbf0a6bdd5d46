package rootfs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// xzGuard passes an xz file through and follows its structure (The .xz File
// Format 1.2, sections 2 and 3; LZMA2 chunks as in the Linux kernel's
// lib/xz/xz_dec_lzma2.c), to refuse a block that asks for a larger dictionary
// than maxWindow before the decoder allocates it: the format allows 4 GiB for
// each block. What ends too early is passed on, for the decoder to say so.
type xzGuard struct {
	r     *bufio.Reader
	state func(*xzGuard) (int64, error) // what follows the bytes that may pass
	pass  int64                         // bytes that may pass now; -1 for all that is left

	check  int64 // size of the check after a block
	padded int64 // bytes of the block so far, which is padded to a multiple of four
	left   uint64
}

func (g *xzGuard) Read(p []byte) (int, error) {
	for g.pass == 0 {
		if g.state == nil {
			g.state = (*xzGuard).stream
		}
		n, err := g.state(g)
		if err != nil {
			return 0, err
		}
		g.pass = n
	}
	if g.pass > 0 && int64(len(p)) > g.pass {
		p = p[:g.pass]
	}
	n, err := g.r.Read(p)
	if g.pass > 0 {
		g.pass -= int64(n)
	}
	return n, err
}

// peek returns n bytes that are still to pass; at the end of the input it lets
// the rest pass, which the decoder will find too short.
func (g *xzGuard) peek(n int) ([]byte, bool) {
	b, err := g.r.Peek(n)
	return b, err == nil
}

// stream is at a stream's header or at padding between streams.
func (g *xzGuard) stream() (int64, error) {
	b, ok := g.peek(4)
	if ok && bytes.Equal(b, []byte{0, 0, 0, 0}) {
		return 4, nil
	}
	if b, ok = g.peek(12); !ok {
		return -1, nil
	}
	sizes := [16]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}
	g.check = sizes[b[7]&15]
	g.state = (*xzGuard).block
	return 12, nil
}

// block is at a block's header or at the index.
func (g *xzGuard) block() (int64, error) {
	b, ok := g.peek(1)
	if !ok {
		return -1, nil
	}
	if b[0] == 0 {
		g.state, g.padded = (*xzGuard).indexCount, 1
		return 1, nil
	}
	size := (int(b[0]) + 1) * 4
	if b, ok = g.peek(size); !ok {
		return -1, nil
	}
	dict, ok := xzDictionary(b)
	if !ok {
		return 0, errXZHeader
	}
	if err := within("xz dictionary", dict, maxWindow); err != nil {
		return 0, err
	}
	g.state, g.padded = (*xzGuard).chunk, 0
	return int64(size), nil
}

// xzDictionary finds the LZMA2 filter in a block header.
func xzDictionary(h []byte) (int64, bool) {
	r := bytes.NewReader(h[2 : len(h)-4])
	for range int(h[1]>>7&1) + int(h[1]>>6&1) { // compressed and uncompressed size
		if _, err := xzNumber(r); err != nil {
			return 0, false
		}
	}
	for range int(h[1]&3) + 1 {
		id, err := xzNumber(r)
		size, err2 := xzNumber(r)
		if err != nil || err2 != nil || size > uint64(r.Len()) {
			return 0, false
		}
		props := make([]byte, size)
		if _, err := io.ReadFull(r, props); err != nil {
			return 0, false
		}
		if id != 0x21 || size != 1 {
			continue
		}
		bits := props[0] & 0x3f
		if bits >= 40 {
			return 1<<32 - 1, true
		}
		return int64(2|bits&1) << (bits/2 + 11), true
	}
	return 0, false
}

// chunk is at an LZMA2 control byte.
func (g *xzGuard) chunk() (int64, error) {
	b, ok := g.peek(1)
	if !ok {
		return -1, nil
	}
	if b[0] == 0 { // end of the block
		g.padded++
		g.state = (*xzGuard).block
		return 1 + (4-g.padded%4)%4 + g.check, nil
	}
	head := 3
	if b[0] >= 0x80 {
		head = 5
	}
	if b, ok = g.peek(head); !ok {
		return -1, nil
	}
	n := int64(head)
	if b[0] < 0x80 {
		n += int64(b[1])<<8 + int64(b[2]) + 1
	} else {
		n += int64(b[3])<<8 + int64(b[4]) + 1
		if b[0] >= 0xc0 { // new properties
			n++
		}
	}
	g.padded += n
	return n, nil
}

// indexCount and indexNumber walk over the index and the footer, so that
// streams that were put one after the other are guarded too.
func (g *xzGuard) indexCount() (int64, error) {
	count, n, ok := g.number()
	if !ok || count > 1<<62 {
		return 0, errXZNumber
	}
	g.left = 2 * count
	g.state = (*xzGuard).indexNumber
	return n, nil
}

func (g *xzGuard) indexNumber() (int64, error) {
	if g.left > 0 {
		g.left--
		_, n, ok := g.number()
		if !ok {
			return 0, errXZNumber
		}
		return n, nil
	}
	g.state = (*xzGuard).stream
	return (4-g.padded%4)%4 + 4 + 12, nil // padding, checksum, footer
}

func (g *xzGuard) number() (v uint64, size int64, ok bool) {
	b, _ := g.r.Peek(9)
	r := bytes.NewReader(b)
	v, err := xzNumber(r)
	size = int64(len(b) - r.Len())
	g.padded += size
	return v, size, err == nil
}

var (
	errXZHeader = errors.New("xz: block header is malformed")
	errXZNumber = errors.New("xz: number is too long")
)

// xzNumber reads a variable-length integer (section 1.2 of the format).
func xzNumber(r *bytes.Reader) (v uint64, err error) {
	for i := range 9 {
		c, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, nil
		}
	}
	return 0, errXZNumber
}
