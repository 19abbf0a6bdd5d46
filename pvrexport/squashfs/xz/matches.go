package xz

import (
	"encoding/binary"
	"math/bits"
)

// match is a repetition: n bytes that are also found d+1 bytes earlier.
type match struct{ n, d uint32 }

const (
	hash3Bits   = 16
	minHashBits = 12
	maxHashBits = 20
	near        = 1<<16 - 1 // the farthest that a match of two or three bytes is looked for
)

// finder finds the earlier occurrences of what starts at a position of one
// block. It links every position to the last one with the same hash once per
// block, so it can be asked about any position in any order, and skipping
// over a match costs nothing.
type finder struct {
	src   []byte
	shift uint     // of the hash of four bytes
	head  []uint32 // by hash of four bytes: position+1
	link  []uint32 // by position: position+1 of the last with this hash
	head3 *[1 << hash3Bits]uint32
	link3 []uint16 // by position: distance, 0 if none is near
	head2 *[1 << 16]uint32
	link2 []uint16
	depth int
	nice  int
	found [maxMatch + 1]match
}

func newFinder(size, depth, nice int) *finder {
	n := max(minHashBits, min(maxHashBits, bits.Len(uint(size))-1))
	return &finder{
		shift: 32 - uint(n),
		head:  make([]uint32, 1<<n),
		link:  make([]uint32, size),
		head3: new([1 << hash3Bits]uint32),
		link3: make([]uint16, size),
		head2: new([1 << 16]uint32),
		link2: make([]uint16, size),
		depth: depth,
		nice:  nice,
	}
}

// reset takes a new block.
func (f *finder) reset(src []byte) {
	f.src = src
	clear(f.head)
	clear(f.head3[:])
	clear(f.head2[:])
	head, head3, head2 := f.head, f.head3, f.head2
	link, link3, link2 := f.link[:len(src)], f.link3[:len(src)], f.link2[:len(src)]
	last := max(0, len(src)-3)
	for i := range last {
		v := binary.LittleEndian.Uint32(src[i:])
		p := uint32(i) + 1
		h2 := v & 0xffff
		link2[i] = nearLink(p, head2[h2])
		head2[h2] = p
		h3 := v << 8 * 506832829 >> (32 - hash3Bits)
		link3[i] = nearLink(p, head3[h3])
		head3[h3] = p
		h4 := v * 2654435761 >> f.shift
		link[i] = head[h4]
		head[h4] = p
	}
	// The last three bytes start no match that is worth looking for.
	for i := last; i < len(src); i++ {
		link[i], link3[i], link2[i] = 0, 0, 0
	}
}

func nearLink(p, q uint32) uint16 {
	if d := p - q; q != 0 && d <= near {
		return uint16(d)
	}
	return 0
}

// at returns the matches at pos, longer and farther at every step: for each
// length the nearest one that is found within depth steps.
func (f *finder) at(pos int) []match {
	d2 := int(f.link2[pos])
	count := 0
	src := f.src
	limit := min(len(src), pos+maxMatch)
	best := 1
	if d2 != 0 {
		best = 2 + matchLen(src[pos-d2+2:], src[pos+2:limit])
		f.found[0] = match{uint32(best), uint32(d2 - 1)}
		count = 1
	}
	if best == 2 {
		if d3 := int(f.link3[pos]); d3 != 0 && d3 != d2 {
			if n := matchLen(src[pos-d3:], src[pos:limit]); n > 2 {
				best = n
				f.found[count] = match{uint32(n), uint32(d3 - 1)}
				count++
			}
		}
	}
	return f.chain(pos, limit, max(best, 3), count)
}

// chain adds the matches longer than best. Such a match also repeats the last
// three bytes of the one before it and the byte that follows, so it is on the
// chain of that place as well: what ended one match is rarer than what began
// it, and the chain is shorter.
func (f *finder) chain(pos, limit, best, count int) []match {
	src, link := f.src, f.link
	steps := f.depth
next:
	for best < f.nice && pos+best < limit {
		tail := best - 3
		want := binary.LittleEndian.Uint32(src[pos+tail:])
		for at := int(link[pos+tail]) - 1; at >= tail && steps > 0; at = int(link[at]) - 1 {
			steps--
			if binary.LittleEndian.Uint32(src[at:]) != want {
				continue
			}
			from := at - tail
			if n := matchLen(src[from:], src[pos:limit]); n > best {
				best = n
				f.found[count] = match{uint32(n), uint32(pos - from - 1)}
				count++
				continue next
			}
		}
		break
	}
	return f.found[:count]
}

// matchLen is how many bytes of b are also the first of a, which is at least
// as long as b.
func matchLen(a, b []byte) int {
	n := 0
	for len(b)-n >= 8 && len(a)-n >= 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)>>3
		}
		n += 8
	}
	for n < len(b) && n < len(a) && a[n] == b[n] {
		n++
	}
	return n
}
