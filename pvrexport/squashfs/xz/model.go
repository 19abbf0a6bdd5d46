package xz

import "math/bits"

// The shape of the LZMA model, as the LZMA SDK's lzma-specification.txt and
// the xz format define it, with lc=3, lp=0, pb=2 throughout.
const (
	lc        = 3
	pb        = 2
	posStates = 1 << pb
	posMask   = posStates - 1
	propsByte = (pb*5+0)*9 + lc

	states    = 12
	litStates = 7 // states below this follow a literal

	minMatch = 2
	maxMatch = 273

	lenLow  = 8
	lenMid  = 8
	lenHigh = 256

	distStates    = 4 // contexts of a distance slot, from the match length
	slotBits      = 6
	alignBits     = 4
	alignSize     = 1 << alignBits
	firstModeled  = 4  // slots below it are the distance itself
	firstDirect   = 14 // slots from it on have direct bits
	fullDistances = 1 << (firstDirect / 2)
)

// lengthModel codes match lengths; matches and repeated matches have one each.
type lengthModel struct {
	choice, choice2 prob
	low             [posStates][lenLow]prob
	mid             [posStates][lenMid]prob
	high            [lenHigh]prob
}

func (m *lengthModel) reset() {
	m.choice, m.choice2 = probInit, probInit
	for i := range posStates {
		resetProbs(m.low[i][:])
		resetProbs(m.mid[i][:])
	}
	resetProbs(m.high[:])
}

func (m *lengthModel) encode(r *rangeEncoder, n, posState uint32) {
	n -= minMatch
	switch {
	case n < lenLow:
		r.bit(&m.choice, 0)
		r.tree(m.low[posState][:], n, 3)
	case n < lenLow+lenMid:
		r.bit(&m.choice, 1)
		r.bit(&m.choice2, 0)
		r.tree(m.mid[posState][:], n-lenLow, 3)
	default:
		r.bit(&m.choice, 1)
		r.bit(&m.choice2, 1)
		r.tree(m.high[:], n-lenLow-lenMid, 8)
	}
}

// lengthPrices is what a length costs, by position state and length.
type lengthPrices [posStates][maxMatch + 1]uint32

// update takes the prices of lengths up to limit from the model.
func (t *lengthPrices) update(m *lengthModel, limit int, scratch *[256]uint32) {
	a0, a1 := price0(m.choice), price1(m.choice)
	b0, b1 := a1+price0(m.choice2), a1+price1(m.choice2)
	const low, mid, high = minMatch, minMatch + lenLow, minMatch + lenLow + lenMid
	for s := range t {
		treePrices(m.low[s][:], a0, t[s][low:mid], scratch)
		treePrices(m.mid[s][:], b0, t[s][mid:high], scratch)
	}
	if limit < high {
		return
	}
	treePrices(m.high[:], b1, t[0][high:limit+1], scratch)
	for s := 1; s < posStates; s++ {
		copy(t[s][high:limit+1], t[0][high:limit+1])
	}
}

// literalCoder is the three trees of one literal context: the plain one and
// those for a byte whose counterpart at the last distance starts with a zero
// or a one bit.
type literalCoder [3 * 256]prob

// model is everything that adapts. Its reset is LZMA2's state reset.
type model struct {
	isMatch    [states][posStates]prob
	isRep      [states]prob
	isRep0     [states]prob // zero: the last distance
	isRep1     [states]prob // zero: the last but one
	isRep2     [states]prob // zero: the third, one: the fourth
	isRep0Long [states][posStates]prob
	slots      [distStates][1 << slotBits]prob
	special    [1 + fullDistances - firstDirect]prob
	align      [alignSize]prob
	length     lengthModel
	repLength  lengthModel
	literals   [1 << lc]literalCoder

	state uint8
	reps  [4]uint32 // the last four distances, less one
}

func (m *model) reset() {
	for s := range states {
		resetProbs(m.isMatch[s][:])
		resetProbs(m.isRep0Long[s][:])
	}
	resetProbs(m.isRep[:])
	resetProbs(m.isRep0[:])
	resetProbs(m.isRep1[:])
	resetProbs(m.isRep2[:])
	for i := range m.slots {
		resetProbs(m.slots[i][:])
	}
	resetProbs(m.special[:])
	resetProbs(m.align[:])
	m.length.reset()
	m.repLength.reset()
	for i := range m.literals {
		resetProbs(m.literals[i][:])
	}
	m.state = 0
	m.reps = [4]uint32{}
}

// Which state follows which, by what was coded.
var (
	afterLiteral  = [states]uint8{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}
	afterMatch    = [states]uint8{7, 7, 7, 7, 7, 7, 7, 10, 10, 10, 10, 10}
	afterRep      = [states]uint8{8, 8, 8, 8, 8, 8, 8, 11, 11, 11, 11, 11}
	afterShortRep = [states]uint8{9, 9, 9, 9, 9, 9, 9, 11, 11, 11, 11, 11}
)

// distSlot is the exponent and the next bit of a distance (less one).
func distSlot(d uint32) uint32 {
	if d < firstModeled {
		return d
	}
	n := uint32(bits.Len32(d)) - 1
	return n<<1 | d>>(n-1)&1
}

// lenState is the context of the distance of a match of length n.
func lenState(n uint32) uint32 { return min(n-minMatch, distStates-1) }

// price is the cost of a literal whose counterpart does not matter.
func (c *literalCoder) price(b byte) (price uint32) {
	s := uint32(b) | 0x100
	for range 8 {
		price += priceBit(c[s>>1], s&1)
		s >>= 1
	}
	return price
}

// matchedPrice is the cost of a literal after a match, when the byte at the
// last distance is other.
func (c *literalCoder) matchedPrice(b, other byte) (price uint32) {
	s, o, offset := uint32(b)|0x100, uint32(other), uint32(0x100)
	for s < 0x10000 {
		o <<= 1
		price += priceBit(c[offset+o&offset+s>>8], s>>7&1)
		s <<= 1
		offset &= ^(o ^ s)
	}
	return price
}

// literal codes the byte at pos.
func (m *model) literal(r *rangeEncoder, src []byte, pos int) {
	r.bit(&m.isMatch[m.state][pos&posMask], 0)
	var prev byte
	if pos > 0 {
		prev = src[pos-1]
	}
	c := &m.literals[prev>>(8-lc)]
	s := uint32(src[pos]) | 0x100
	if m.state < litStates {
		for s < 0x10000 {
			r.bit(&c[s>>8], s>>7&1)
			s <<= 1
		}
	} else {
		o, offset := uint32(src[pos-int(m.reps[0])-1]), uint32(0x100)
		for s < 0x10000 {
			o <<= 1
			r.bit(&c[offset+o&offset+s>>8], s>>7&1)
			s <<= 1
			offset &= ^(o ^ s)
		}
	}
	m.state = afterLiteral[m.state]
}

// rep codes n bytes at the i-th of the last distances; one byte only at the
// last.
func (m *model) rep(r *rangeEncoder, pos int, i, n uint32) {
	ps := uint32(pos & posMask)
	s := m.state
	r.bit(&m.isMatch[s][ps], 1)
	r.bit(&m.isRep[s], 1)
	if i == 0 {
		r.bit(&m.isRep0[s], 0)
		if n == 1 {
			r.bit(&m.isRep0Long[s][ps], 0)
			m.state = afterShortRep[s]
			return
		}
		r.bit(&m.isRep0Long[s][ps], 1)
	} else {
		r.bit(&m.isRep0[s], 1)
		if i == 1 {
			r.bit(&m.isRep1[s], 0)
		} else {
			r.bit(&m.isRep1[s], 1)
			r.bit(&m.isRep2[s], i-2)
		}
		m.reps = useRep(m.reps, i)
	}
	m.repLength.encode(r, n, ps)
	m.state = afterRep[s]
}

// useRep moves the i-th distance to the front.
func useRep(reps [4]uint32, i uint32) [4]uint32 {
	switch i {
	case 1:
		return [4]uint32{reps[1], reps[0], reps[2], reps[3]}
	case 2:
		return [4]uint32{reps[2], reps[0], reps[1], reps[3]}
	case 3:
		return [4]uint32{reps[3], reps[0], reps[1], reps[2]}
	}
	return reps
}

// match codes n bytes at the distance d+1.
func (m *model) match(r *rangeEncoder, pos int, d, n uint32) {
	ps := uint32(pos & posMask)
	r.bit(&m.isMatch[m.state][ps], 1)
	r.bit(&m.isRep[m.state], 0)
	m.state = afterMatch[m.state]
	m.length.encode(r, n, ps)
	slot := distSlot(d)
	r.tree(m.slots[lenState(n)][:], slot, slotBits)
	if slot >= firstModeled {
		footer := slot>>1 - 1
		base := (2 | slot&1) << footer
		rest := d - base
		if slot < firstDirect {
			r.reverseTree(m.special[base-slot:], rest, int(footer))
		} else {
			r.direct(rest>>alignBits, int(footer)-alignBits)
			r.reverseTree(m.align[:], rest&(alignSize-1), alignBits)
		}
	}
	m.reps = [4]uint32{d, m.reps[0], m.reps[1], m.reps[2]}
}
