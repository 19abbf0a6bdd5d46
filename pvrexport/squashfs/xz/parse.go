package xz

import "encoding/binary"

const (
	maxNodes = 1 << 11
	infinite = 1 << 30

	opLiteral = ^uint32(0) // node.back of a literal
	backMatch = 4          // node.back of a match less its distance
)

// node is the cheapest known way to a position: the last step there, and,
// once the parser has reached it, the state it leaves behind.
type node struct {
	price uint32
	n     uint32 // length of the last coded item
	back  uint32 // opLiteral, the index of a repeated distance, or backMatch+d
	// extra joins items into one step: 1 puts a literal before a repeated
	// match of the last distance, more puts a match (back) of that length
	// less one, and a literal, before it.
	extra uint32
	reps  [4]uint32
	state uint8
}

// op is one item to be coded.
type op struct{ n, back uint32 }

// parser chooses what to code. Over a stretch of the block it finds the
// cheapest way from position to position by the prices of the model as it is
// at the start of the stretch: the forward search of LZMA's normal mode.
type parser struct {
	finder *finder
	model  *model
	nice   int

	nodes [maxNodes + maxMatch + 2]node
	end   int  // the farthest node with a price
	ops   []op // the plan, last item first

	lengths    lengthPrices
	repLengths lengthPrices
	distFull   [distStates][fullDistances]uint32
	slots      [distStates][1 << slotBits]uint32
	align      [alignSize]uint32
	scratch    [256]uint32
	distAge    int // matches coded since the prices were taken
	lenAge     int // lengths
}

// How many items are coded before prices are taken anew.
const (
	distRenew = 128
	lenRenew  = 64
)

func (p *parser) reset() {
	p.distAge, p.lenAge = distRenew, lenRenew
	p.ops = p.ops[:0]
}

// renew takes prices from the model when they are old.
func (p *parser) renew() {
	m := p.model
	if p.lenAge >= lenRenew {
		p.lenAge = 0
		p.lengths.update(&m.length, p.nice, &p.scratch)
		p.repLengths.update(&m.repLength, p.nice, &p.scratch)
	}
	if p.distAge < distRenew {
		return
	}
	p.distAge = 0
	for v := range p.align {
		p.align[v] = reverseTreePrice(m.align[:], uint32(v), alignBits)
	}
	for s := range distStates {
		slots := &p.slots[s]
		treePrices(m.slots[s][:], 0, slots[:], &p.scratch)
		for slot := firstDirect; slot < len(slots); slot++ {
			slots[slot] += uint32(slot>>1-1-alignBits) << priceBits
		}
	}
	for d := range uint32(fullDistances) {
		slot := distSlot(d)
		var rest uint32
		if slot >= firstModeled {
			footer := slot>>1 - 1
			base := (2 | slot&1) << footer
			rest = reverseTreePrice(m.special[base-slot:], d-base, int(footer))
		}
		for s := range distStates {
			p.distFull[s][d] = p.slots[s][slot] + rest
		}
	}
}

func (p *parser) distPrice(d, lenState uint32) uint32 {
	if d < fullDistances {
		return p.distFull[lenState][d]
	}
	return p.slots[lenState][distSlot(d)] + p.align[d&(alignSize-1)]
}

// plan fills ops with what to code from pos on, last item first.
func (p *parser) plan(pos int) {
	p.ops = p.ops[:0]
	src, m := p.finder.src, p.model
	if pos == 0 { // there is nothing to repeat yet
		p.ops = append(p.ops, op{1, opLiteral})
		return
	}
	matches := p.finder.at(pos)
	if p.long(src, pos, matches) {
		return
	}
	p.renew()
	p.nodes[0] = node{state: m.state, reps: m.reps}
	p.end = 0
	cur := 0
	for {
		p.relax(pos, cur, matches)
		cur++
		if cur == p.end || cur == maxNodes {
			break // no item passes over this position, or it is time to stop
		}
		p.arrive(cur)
		matches = p.finder.at(pos + cur)
		if len(matches) > 0 && int(matches[len(matches)-1].n) >= p.nice {
			break // the next plan takes it
		}
	}
	p.trace(cur)
}

// long plans a single repetition if one is so long that looking further does
// not pay.
func (p *parser) long(src []byte, pos int, matches []match) bool {
	limit := min(len(src), pos+maxMatch)
	best, bestRep := 0, uint32(0)
	for i, d := range p.model.reps {
		if n := matchLen(src[pos-int(d)-1:], src[pos:limit]); n > best {
			best, bestRep = n, uint32(i)
		}
	}
	if best >= p.nice {
		p.ops = append(p.ops, op{uint32(best), bestRep})
		return true
	}
	if len(matches) == 0 {
		return false
	}
	if last := matches[len(matches)-1]; int(last.n) >= p.nice {
		p.ops = append(p.ops, op{last.n, backMatch + last.d})
		return true
	}
	return false
}

// arrive works out the state that the cheapest way to a node leaves.
func (p *parser) arrive(cur int) {
	x := &p.nodes[cur]
	from := cur - int(x.n) - int(x.extra)
	prev := &p.nodes[from]
	x.reps, x.state = prev.reps, prev.state
	switch x.extra {
	case 0:
		x.step(x.n, x.back)
	case 1:
		x.step(1, opLiteral)
		x.step(x.n, 0)
	default:
		x.step(x.extra-1, x.back)
		x.step(1, opLiteral)
		x.step(x.n, 0)
	}
}

func (x *node) step(n, back uint32) {
	switch {
	case back == opLiteral:
		x.state = afterLiteral[x.state]
	case back >= backMatch:
		x.state = afterMatch[x.state]
		x.reps = [4]uint32{back - backMatch, x.reps[0], x.reps[1], x.reps[2]}
	case n == 1:
		x.state = afterShortRep[x.state]
	default:
		x.state = afterRep[x.state]
		x.reps = useRep(x.reps, back)
	}
}

// trace lists the items of the cheapest way to a node.
func (p *parser) trace(cur int) {
	for cur > 0 {
		x := &p.nodes[cur]
		cur -= int(x.n)
		if x.extra == 0 {
			p.ops = append(p.ops, op{x.n, x.back})
			continue
		}
		p.ops = append(p.ops, op{x.n, 0}, op{1, opLiteral})
		cur--
		if x.extra > 1 {
			p.ops = append(p.ops, op{x.extra - 1, x.back})
			cur -= int(x.extra - 1)
		}
	}
}

// grow makes the nodes up to to reachable.
func (p *parser) grow(to int) {
	for p.end < to {
		p.end++
		p.nodes[p.end].price = infinite
	}
}

// offer notes a way to a node if it is the cheapest so far.
func (p *parser) offer(to int, price, n, back, extra uint32) {
	if x := &p.nodes[to]; price < x.price {
		x.price, x.n, x.back, x.extra = price, n, back, extra
	}
}

// relax tries every item from the node cur, which is at start+cur.
func (p *parser) relax(start, cur int, matches []match) {
	src, m := p.finder.src, p.model
	x := &p.nodes[cur]
	pos := start + cur
	ps := pos & posMask
	isMatch := m.isMatch[x.state][ps]
	matchPrice := x.price + price1(isMatch)
	repPrice := matchPrice + price1(m.isRep[x.state])
	rep0 := int(x.reps[0]) + 1
	b, other := src[pos], src[pos-rep0]
	p.grow(cur + 1)

	litPrice := x.price + price0(isMatch)
	if c := &m.literals[src[pos-1]>>(8-lc)]; x.state < litStates {
		litPrice += c.price(b)
	} else {
		litPrice += c.matchedPrice(b, other)
	}
	p.offer(cur+1, litPrice, 1, opLiteral, 0)
	if b == other {
		p.offer(cur+1, repPrice+price0(m.isRep0[x.state])+price0(m.isRep0Long[x.state][ps]), 1, 0, 0)
	}
	limit := min(len(src), pos+p.nice, start+maxNodes+maxMatch)
	if limit-pos < 2 {
		return
	}
	if b != other { // a literal, then a repeated match of the last distance
		rest := src[pos+1 : min(limit+1, len(src))]
		if n := matchLen(src[pos+1-rep0:], rest); n >= minMatch {
			p.grow(cur + 1 + n)
			p.offer(cur+1+n, litPrice+p.rep0Price(afterLiteral[x.state], pos+1, uint32(n)), uint32(n), 0, 1)
		}
	}
	first := p.relaxReps(pos, cur, limit, repPrice)
	if len(matches) > 0 {
		p.relaxMatches(pos, cur, limit, first, matchPrice+price0(m.isRep[x.state]), matches)
	}
}

// rep0Price is the cost of a repeated match of the last distance.
func (p *parser) rep0Price(state uint8, pos int, n uint32) uint32 {
	m, ps := p.model, pos&posMask
	return price1(m.isMatch[state][ps]) + price1(m.isRep[state]) +
		price0(m.isRep0[state]) + price1(m.isRep0Long[state][ps]) + p.repLengths[ps][n]
}

// relaxReps tries the last four distances and returns the shortest length
// that a match at a new distance must have to be of use.
func (p *parser) relaxReps(pos, cur, limit int, repPrice uint32) int {
	src, m := p.finder.src, p.model
	x := &p.nodes[cur]
	state, ps := x.state, pos&posMask
	firstLen := 2
	two := binary.LittleEndian.Uint16(src[pos:])
	for i, d := range x.reps {
		back := pos - int(d) - 1
		if binary.LittleEndian.Uint16(src[back:]) != two {
			continue
		}
		n := 2 + matchLen(src[back+2:], src[pos+2:limit])
		price := repPrice
		switch i {
		case 0:
			price += price0(m.isRep0[state]) + price1(m.isRep0Long[state][ps])
			firstLen = n + 1
		case 1:
			price += price1(m.isRep0[state]) + price0(m.isRep1[state])
		default:
			price += price1(m.isRep0[state]) + price1(m.isRep1[state]) + priceBit(m.isRep2[state], uint32(i-2))
		}
		p.grow(cur + n)
		lens := &p.repLengths[ps]
		for l := n; l >= 2; l-- {
			p.offer(cur+l, price+lens[l], uint32(l), uint32(i), 0)
		}
		p.afterGap(pos, cur, limit, n, uint32(i), int(d)+1, afterRep[state], price+lens[n])
	}
	return firstLen
}

// relaxMatches tries the matches at new distances.
func (p *parser) relaxMatches(pos, cur, limit, firstLen int, price uint32, matches []match) {
	longest := min(int(matches[len(matches)-1].n), limit-pos)
	if longest < firstLen {
		return
	}
	p.grow(cur + longest)
	lens := &p.lengths[pos&posMask]
	l := firstLen
	for _, mt := range matches {
		n := min(int(mt.n), limit-pos)
		if n < l {
			continue
		}
		var at uint32
		for ; l <= n; l++ {
			at = price + lens[l] + p.distPrice(mt.d, lenState(uint32(l)))
			p.offer(cur+l, at, uint32(l), backMatch+mt.d, 0)
		}
		p.afterGap(pos, cur, limit, n, backMatch+mt.d, int(mt.d)+1, afterMatch[p.nodes[cur].state], at)
	}
}

// afterGap tries a literal and a repeated match of the same distance after a
// match of n bytes that ends because one byte differs.
func (p *parser) afterGap(pos, cur, limit, n int, back uint32, dist int, state uint8, price uint32) {
	src := p.finder.src
	at := pos + n // the literal
	if at+3 > limit || binary.LittleEndian.Uint16(src[at+1-dist:]) != binary.LittleEndian.Uint16(src[at+1:]) {
		return
	}
	more := 2 + matchLen(src[at+3-dist:], src[at+3:limit])
	price += price0(p.model.isMatch[state][at&posMask])
	price += p.model.literals[src[at-1]>>(8-lc)].matchedPrice(src[at], src[at-dist])
	price += p.rep0Price(afterLiteral[state], at+1, uint32(more))
	to := cur + n + 1 + more
	p.grow(to)
	p.offer(to, price, uint32(more), back, uint32(n)+1)
}
