package xz

import "math"

const (
	probBits  = 11
	probInit  = 1 << (probBits - 1)
	moveBits  = 5
	topValue  = 1 << 24
	priceBits = 4 // prices are in sixteenths of a bit
)

// prob is the probability of a zero bit in 1/2048.
type prob = uint16

// priceShift drops the low bits of a probability: 128 prices are enough.
const priceShift = probBits - 7

// prices gives the cost of coding a bit whose probability, in 1/128, is the
// index.
var prices = makePrices()

func makePrices() (t [128]uint8) {
	for i := range t {
		t[i] = uint8(math.Round(-math.Log2((float64(i)+0.5)/128) * (1 << priceBits)))
	}
	return t
}

func price0(p prob) uint32 { return uint32(prices[p>>priceShift&127]) }
func price1(p prob) uint32 { return uint32(prices[(p^(1<<probBits-1))>>priceShift&127]) }

func priceBit(p prob, bit uint32) uint32 {
	return uint32(prices[(uint32(p)^(-bit&(1<<probBits-1)))>>priceShift&127])
}

// rangeEncoder is the carry-propagating range coder of LZMA. The bytes of one
// LZMA2 chunk collect in out; the caller flushes before out is full, so that
// a byte can be stored without a question.
type rangeEncoder struct {
	low       uint64
	rng       uint32
	cache     byte
	cacheSize int
	out       []byte
	n         int
}

func (r *rangeEncoder) reset() {
	r.low, r.rng = 0, math.MaxUint32
	r.cache, r.cacheSize = 0, 1
	r.n = 0
}

// pending is the size of the chunk if it were flushed now.
func (r *rangeEncoder) pending() int { return r.n + r.cacheSize + 4 }

func (r *rangeEncoder) shiftLow() {
	if uint32(r.low) < 0xff000000 || r.low>>32 != 0 {
		carry := byte(r.low >> 32)
		b := r.cache
		for ; r.cacheSize > 0; r.cacheSize-- {
			// The first byte of a chunk is the coder's empty cache, always
			// zero; LZMA2 stores it like any other.
			r.out[r.n] = b + carry
			r.n++
			b = 0xff
		}
		r.cache = byte(r.low >> 24)
	}
	r.cacheSize++
	r.low = r.low & 0x00ffffff << 8
}

func (r *rangeEncoder) flush() {
	for range 5 {
		r.shiftLow()
	}
}

func (r *rangeEncoder) bit(p *prob, bit uint32) {
	v := uint32(*p)
	bound := r.rng >> probBits * v
	if bit == 0 {
		r.rng = bound
		*p = prob(v + (1<<probBits-v)>>moveBits)
	} else {
		r.low += uint64(bound)
		r.rng -= bound
		*p = prob(v - v>>moveBits)
	}
	if r.rng < topValue {
		r.rng <<= 8
		r.shiftLow()
	}
}

// direct codes the low n bits of v, each with probability one half.
func (r *rangeEncoder) direct(v uint32, n int) {
	for n--; n >= 0; n-- {
		r.rng >>= 1
		r.low += uint64(r.rng & -(v >> n & 1))
		if r.rng < topValue {
			r.rng <<= 8
			r.shiftLow()
		}
	}
}

// tree codes the low n bits of v, highest first, in a binary tree of
// probabilities whose root is p[1].
func (r *rangeEncoder) tree(p []prob, v uint32, n int) {
	m := uint32(1)
	for n--; n >= 0; n-- {
		b := v >> n & 1
		r.bit(&p[m], b)
		m = m<<1 | b
	}
}

// reverseTree is tree with the lowest bit first.
func (r *rangeEncoder) reverseTree(p []prob, v uint32, n int) {
	m := uint32(1)
	for range n {
		b := v & 1
		v >>= 1
		r.bit(&p[m], b)
		m = m<<1 | b
	}
}

func reverseTreePrice(p []prob, v uint32, n int) (price uint32) {
	m := uint32(1)
	for range n {
		b := v & 1
		v >>= 1
		price += priceBit(p[m], b)
		m = m<<1 | b
	}
	return price
}

// treePrices sets out[v] to base plus the price of the value v in the tree p,
// for all values at once. p[0] is unused, as in tree.
func treePrices(p []prob, base uint32, out []uint32, scratch *[256]uint32) {
	leaves := len(p)
	scratch[1] = base
	for m := 1; m < leaves; m++ {
		at := scratch[m]
		lo, hi := at+price0(p[m]), at+price1(p[m])
		if c := 2 * m; c < leaves {
			scratch[c], scratch[c+1] = lo, hi
		} else {
			if c -= leaves; c < len(out) {
				out[c] = lo
			}
			if c++; c < len(out) {
				out[c] = hi
			}
		}
	}
}

func resetProbs(p []prob) {
	for i := range p {
		p[i] = probInit
	}
}
