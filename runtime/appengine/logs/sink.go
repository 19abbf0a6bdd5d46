package logs

import "sync"

// sink is an output that waits to be written: a file, or standard output. Its
// bytes are bounded by what its sources may have waiting.
type sink struct {
	name   string // below the revision, or a path of its own
	rev    string
	abs    bool // name is a path of its own
	queued bool // guarded by Server.mu

	mu    sync.Mutex // guards what follows
	buf   []byte
	spare []byte
	owed  []debt // whose the bytes are, in their order
}

// debt is how many bytes in a row are of one source.
type debt struct {
	src *Source
	n   int64
}

// placed says whether the sink has a file to go to.
func (k *sink) placed() bool { return k.abs || k.rev != "" }

// append lets add add to the bytes, and books them on src. It reports whether
// the sink was empty.
func (k *sink) append(src *Source, add func([]byte) []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := len(k.buf)
	k.buf = add(k.buf)
	n := int64(len(k.buf) - before)
	src.pending.Add(n)
	if last := len(k.owed) - 1; last >= 0 && k.owed[last].src == src {
		k.owed[last].n += n
	} else {
		k.owed = append(k.owed, debt{src, n})
	}
	return before == 0
}

// take takes what waits. Give the slice back to recycle.
func (k *sink) take() ([]byte, []debt) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b, owed := k.buf, k.owed
	k.buf, k.spare, k.owed = k.spare[:0], nil, nil
	return b, owed
}

// recycle keeps a slice of moderate size for the next bytes.
func (k *sink) recycle(b []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.spare == nil && cap(b) <= 2*sourceLimit {
		k.spare = b[:0]
	}
}

// putBack undoes take for what could not be written.
func (k *sink) putBack(b []byte, owed []debt) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.buf = append(b[:len(b):len(b)], k.buf...)
	k.owed = append(owed[:len(owed):len(owed)], k.owed...)
}

// credit pays n bytes back to their sources and returns the debts that are
// left.
func credit(owed []debt, n int64) []debt {
	for i := range owed {
		d := &owed[i]
		if n < d.n {
			d.src.pending.Add(-n)
			d.n -= n
			return owed[i:]
		}
		d.src.pending.Add(-d.n)
		n -= d.n
	}
	return nil
}
