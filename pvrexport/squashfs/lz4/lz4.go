// Package lz4 compresses independent blocks to raw LZ4 blocks as small as the
// format allows within reason, for squashfs images whose kernel has only lz4
// or should read fast. Go's libraries parse lazily and lose 4 to 5 % against
// lz4 -12 on blocks of 4 KiB to 1 MiB; this encoder knows the longest match at
// every position and then takes the cheapest way through the block.
//
// Start at NewEncoder. The format is lz4_Block_format.md of the LZ4 project.
// There is no decoder here, and no fast mode.
package lz4

import (
	"encoding/binary"
	"slices"
)

const (
	minMatch  = 4
	maxOffset = 1<<16 - 1
	maxLen    = 1<<16 - 1 // what one sequence copies here; the format has no limit

	// The end of a block, as decoders rely on it: the last match starts at
	// least endMatch bytes before it, and endLiterals bytes are literals.
	endMatch    = 12
	endLiterals = 5

	// A token holds up to 14 literals and a match of up to 18 bytes; from
	// there on every 255 cost a byte.
	longRun   = 15
	longMatch = minMatch + 15
	byteMore  = 255
)

// Encoder compresses blocks. It is not safe for concurrent use. Reuse it: its
// tables take twelve times the largest block and up to 512 KiB, and encoding
// allocates nothing but what dst lacks.
type Encoder struct {
	finder finder
	steps  []step
	costs  []uint32 // by position: bytes from there to the end of the block
}

// step is what is known of a position: the longest match there, then what the
// cheapest way does there.
type step struct {
	n      uint16 // length of the match, 0 for a literal
	offset uint16
	run    uint16 // literals from here to the next match, less multiples of 255
}

// NewEncoder returns an encoder for blocks of up to maxBlock bytes.
func NewEncoder(maxBlock int) *Encoder {
	return &Encoder{
		finder: newFinder(maxBlock),
		steps:  make([]step, maxBlock+1),
		costs:  make([]uint32, maxBlock+1),
	}
}

// Encode appends src as an LZ4 block to dst. It reports false, and leaves dst
// alone, if the block would not be shorter than src or if src is larger than
// the encoder's largest block: then store src as it is.
func (e *Encoder) Encode(dst, src []byte) ([]byte, bool) {
	if len(src) <= endMatch || len(src) >= len(e.steps) {
		return dst, false
	}
	e.search(src)
	size := e.choose(len(src))
	if size >= len(src) {
		return dst, false
	}
	return e.emit(slices.Grow(dst, size), src), true
}

// search finds the longest match at every position.
func (e *Encoder) search(src []byte) {
	e.finder.reset(src)
	last := len(src) - endMatch
	n, offset := 0, 0
	for i := range last + 1 {
		// What was found at the last position goes on here.
		if n--; n < minMatch {
			n, offset = 0, 0
		}
		n, offset = e.finder.longest(i, n, offset)
		e.steps[i] = step{n: uint16(min(n, maxLen)), offset: uint16(offset)}
	}
	clear(e.steps[last+1 : len(src)+1])
}

// choose goes backwards over the block and decides between a literal and the
// lengths of the match at every position. It returns the size of the block.
func (e *Encoder) choose(size int) int {
	e.costs[size] = 0
	for i := size - 1; i >= 0; i-- {
		s := &e.steps[i]
		run := e.steps[i+1].run + 1
		cost := e.costs[i+1] + 1
		if run == longRun+byteMore {
			run = longRun
		}
		if run == longRun {
			cost++
		}
		best := uint32(0)
		if s.n > 0 {
			if n, c := e.length(i, uint32(s.n)); c <= cost {
				best, cost, run = n, c, 0
			}
		}
		s.n, s.run = uint16(best), run
		e.costs[i] = cost
	}
	return int(e.costs[0]) + 1 // and the last token
}

// length is how much of a match of n bytes at i to use, and the cost from i on
// if that is done. The farther a position, the cheaper is what follows (any
// match can be shortened from its front), so the whole match is right unless
// it just passed the limit of a length byte.
func (e *Encoder) length(i int, n uint32) (best, cost uint32) {
	cost = e.costs[i+int(n)] + matchCost(n)
	if n >= longMatch {
		l := n - (n-longMatch)%byteMore - 1
		if c := e.costs[i+int(l)] + matchCost(l); c < cost {
			return l, c
		}
	}
	return n, cost
}

// matchCost is the size of a token with a match of n bytes.
func matchCost(n uint32) uint32 {
	if n < longMatch {
		return 3
	}
	return 4 + (n-longMatch)/byteMore
}

// emit writes the chosen sequences.
func (e *Encoder) emit(dst, src []byte) []byte {
	anchor := 0
	for i := 0; i < len(src); {
		s := e.steps[i]
		if s.n == 0 {
			i++
			continue
		}
		dst = appendLiterals(dst, src[anchor:i], min(int(s.n)-minMatch, 15))
		dst = binary.LittleEndian.AppendUint16(dst, s.offset)
		if s.n >= longMatch {
			dst = appendMore(dst, int(s.n)-longMatch)
		}
		i += int(s.n)
		anchor = i
	}
	return appendLiterals(dst, src[anchor:], 0)
}

// appendLiterals appends a token and its literals. match is the low half of
// the token.
func appendLiterals(dst, lits []byte, match int) []byte {
	dst = append(dst, byte(min(len(lits), longRun)<<4|match))
	if len(lits) >= longRun {
		dst = appendMore(dst, len(lits)-longRun)
	}
	return append(dst, lits...)
}

// appendMore appends what of a length the token does not hold.
func appendMore(dst []byte, n int) []byte {
	for ; n >= byteMore; n -= byteMore {
		dst = append(dst, byteMore)
	}
	return append(dst, byte(n))
}
