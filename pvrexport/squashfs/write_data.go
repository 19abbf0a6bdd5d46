package squashfs

import (
	"context"
	"sync"
)

// The data pipeline. One goroutine, the feeder, reads the content in order and
// cuts it into jobs; the workers compress jobs as they come; the caller of
// Write waits for the jobs in the feeder's order and writes them. There is a
// fixed number of jobs, and with them of buffers, that go round:
//
//	free ─▶ feeder ─┬─▶ queue ─▶ workers ─▶ job.done
//	  ▲             └─▶ order ─▶ writer ◀──────┘
//	  └─────────────────────────────┘
//
// All decisions are the feeder's and all positions the writer's, so that the
// bytes do not depend on which worker is done first.

// fileData is where a file's content is. Equal files share it.
type fileData struct {
	start    uint64
	count    int64    // blocks of its own
	blocks   []uint32 // size words; 0 is a hole, and so are missing ones at the end
	sparse   uint64   // bytes in holes
	fragment uint32   // the shared block with the end of the file
	offset   uint32   // and where it is in there
}

// add notes a stored block; the blocks between the last one and this are holes.
func (d *fileData) add(index int64, start uint64, word uint32) {
	if len(d.blocks) == 0 {
		d.start = start
	}
	for int64(len(d.blocks)) < index {
		d.blocks = append(d.blocks, 0)
	}
	d.blocks = append(d.blocks, word)
}

// job is a block on its way into the image.
type job struct {
	in   []byte // its data
	out  []byte // memory for the encoder
	done chan struct{}

	packed  []byte // the encoder's result; nil is stored as it is
	err     error
	content int64 // bytes of content that are in the image with this block

	file  *fileData // a block of a file
	index int64     // which
	frag  bool      // a shared block instead
}

type pipeline struct {
	opts  Options
	free  chan *job
	queue chan *job
	order chan *job
}

// jobsFor is the number of blocks in memory: each worker's own, one that waits
// for it, and what the feeder and the writer hold.
func jobsFor(workers int) int { return 2*workers + 2 }

// writeData writes the content of all files and returns the shared blocks.
// When it returns all its goroutines have ended.
func writeData(parent context.Context, out *output, p *plan, encoders []encoder) ([]fragment, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	n := jobsFor(len(encoders))
	pl := &pipeline{opts: p.opts, free: make(chan *job, n), queue: make(chan *job, n), order: make(chan *job, n)}
	for range n {
		pl.free <- &job{done: make(chan struct{}, 1)}
	}
	var wg sync.WaitGroup
	for _, enc := range encoders {
		wg.Go(func() { pl.work(enc) })
	}
	f := newFeeder(ctx, pl, p)
	wg.Go(func() {
		defer close(pl.order)
		defer close(pl.queue)
		if err := f.run(); err != nil {
			cancel(err)
		}
	})
	frags, err := pl.write(out, p, cancel)
	wg.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	f.addStats(&p.stats)
	p.stats.Fragments = len(frags)
	if p.opts.Progress != nil {
		p.opts.Progress(p.stats.ContentSize, p.stats.ContentSize)
	}
	return frags, nil
}

// work compresses jobs until there are no more.
func (pl *pipeline) work(enc encoder) {
	for j := range pl.queue {
		j.packed, j.err = nil, nil
		if enc != nil {
			if j.out == nil {
				j.out = make([]byte, 0, pl.opts.BlockSize+pl.opts.BlockSize/64+1024)
			}
			j.packed, j.err = enc.compress(j.out, j.in)
			if len(j.packed) >= len(j.in) {
				j.packed = nil
			}
		}
		j.done <- struct{}{}
	}
}

// write writes the jobs in order. After an error it cancels the feeder and
// only returns the jobs, until there are no more.
func (pl *pipeline) write(out *output, p *plan, cancel context.CancelCauseFunc) ([]fragment, error) {
	var frags []fragment
	var failed error
	var done int64
	for j := range pl.order {
		<-j.done
		if failed == nil {
			start, word, err := j.store(out)
			switch {
			case err != nil:
				failed = err
				cancel(err)
			case j.frag:
				frags = append(frags, fragment{start, word})
			default:
				j.file.add(j.index, start, word)
				p.stats.Blocks++
			}
			if done += j.content; p.opts.Progress != nil && failed == nil {
				p.opts.Progress(done, p.stats.ContentSize)
			}
		}
		pl.free <- j
	}
	return frags, failed
}

// store writes one block and returns its place and size word.
func (j *job) store(out *output) (start uint64, word uint32, err error) {
	if j.err != nil {
		return 0, 0, j.err
	}
	start = out.pos
	b, word := j.packed, uint32(len(j.packed))
	if b == nil {
		b, word = j.in, uint32(len(j.in))|dataStored
	}
	return start, word, out.write(b)
}
