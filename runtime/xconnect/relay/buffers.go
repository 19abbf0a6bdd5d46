package relay

import "sync"

const (
	largeSize = 256 << 10 // more than a socket holds by default (net.core.wmem_default)
	smallSize = 8 << 10
	largeMax  = 64 // in the whole process: 16 MiB
)

// buffer is what one message needs while it passes.
type buffer struct {
	data  []byte
	oob   []byte
	large bool
}

// Buffers in use are bounded: most connections hold theirs for microseconds, so
// few large ones serve many. When all are held by connections whose other side
// does not read, the rest go on with small ones.
var (
	largeSlots = make(chan struct{}, largeMax)
	largePool  = sync.Pool{New: func() any { return newBuffer(largeSize) }}
	smallPool  = sync.Pool{New: func() any { return newBuffer(smallSize) }}
)

func newBuffer(size int) *buffer {
	return &buffer{data: make([]byte, size), oob: make([]byte, oobSize), large: size == largeSize}
}

func getBuffer() *buffer {
	select {
	case largeSlots <- struct{}{}:
		return largePool.Get().(*buffer)
	default:
		return smallPool.Get().(*buffer)
	}
}

func putBuffer(b *buffer) {
	if b.large {
		largePool.Put(b)
		<-largeSlots
		return
	}
	smallPool.Put(b)
}
