package xz

// Limits and control bytes of LZMA2 chunks, as the Linux kernel's
// lib/xz/xz_dec_lzma2.c reads them.
const (
	maxChunk    = 64 << 10 // compressed
	maxUnpacked = 2 << 20
	maxStored   = 64 << 10

	// maxItem bounds what coding one item can add to a chunk: a match is
	// fewer than 50 coded bits, none of which can cost more than seven.
	maxItem = 64

	ctrlEnd        = 0x00
	ctrlStoreReset = 0x01 // stored bytes, new dictionary
	ctrlStore      = 0x02
	ctrlLZMA       = 0x80
	ctrlState      = 0x20 // the model is reset
	ctrlProps      = 0x40 // that, and the properties byte follows
	ctrlDict       = 0x60 // that, and a new dictionary
)

// lzma2 appends src as LZMA2 chunks with the end mark.
func (e *Encoder) lzma2(dst, src []byte) []byte {
	e.parser.finder.reset(src)
	e.parser.reset()
	e.model.reset()
	reset := byte(ctrlDict)
	for pos := 0; pos < len(src); {
		end := e.chunk(src, pos)
		packed, unpacked := e.rc.n, end-pos
		if packed < unpacked {
			dst = append(dst, ctrlLZMA|reset|byte((unpacked-1)>>16), byte((unpacked-1)>>8), byte(unpacked-1),
				byte((packed-1)>>8), byte(packed-1))
			if reset >= ctrlProps {
				dst = append(dst, propsByte)
			}
			dst = append(dst, e.rc.out[:packed]...)
			reset = 0
			pos = end
			continue
		}
		// The decoder never saw the items, so the model starts again after
		// stored bytes. What is still planned was planned with the old one:
		// store it, too.
		for _, o := range e.parser.ops {
			end += int(o.n)
		}
		dst = store(dst, src, pos, end)
		pos = end
		if reset == ctrlDict {
			reset = ctrlProps // store has reset the dictionary
		}
		reset = max(reset, ctrlState)
		e.model.reset()
		e.parser.reset()
	}
	return append(dst, ctrlEnd)
}

// store appends the bytes from pos to end as they are.
func store(dst, src []byte, pos, end int) []byte {
	for pos < end {
		n := min(end-pos, maxStored)
		ctrl := byte(ctrlStore)
		if pos == 0 {
			ctrl = ctrlStoreReset
		}
		dst = append(dst, ctrl, byte((n-1)>>8), byte(n-1))
		dst = append(dst, src[pos:pos+n]...)
		pos += n
	}
	return dst
}

// chunk codes items from pos on until the source ends or a limit of the
// chunk is near, and returns how far it came.
func (e *Encoder) chunk(src []byte, pos int) int {
	start := pos
	p, m, r := &e.parser, &e.model, &e.rc
	r.reset()
	for pos < len(src) && r.pending() < maxChunk-maxItem && pos-start <= maxUnpacked-maxMatch {
		if len(p.ops) == 0 {
			p.plan(pos)
		}
		o := p.ops[len(p.ops)-1]
		p.ops = p.ops[:len(p.ops)-1]
		switch {
		case o.back == opLiteral:
			m.literal(r, src, pos)
		case o.back >= backMatch:
			m.match(r, pos, o.back-backMatch, o.n)
			p.distAge++
			p.lenAge++
		default:
			m.rep(r, pos, o.back, o.n)
			p.lenAge++
		}
		pos += int(o.n)
	}
	r.flush()
	return pos
}
