package container

import (
	"context"
	"errors"
	"sync"
)

// Job is one bundle to build.
type Job struct {
	Def  *Definition
	Arch Arch
	File string // where the bundle goes
}

// Watcher is told about the jobs of a batch, by their index. Its methods are
// called from several goroutines, for one job from one at a time.
type Watcher interface {
	Progress(job int, s Stage, done, total int64)
	Done(job int, r *Result, err error)
}

// BuildAll builds every job, at most n at a time. A job that fails does not
// stop the others. The results are in the order of the jobs, nil for those that
// failed; the error joins their errors in that order.
func (b *Builder) BuildAll(ctx context.Context, jobs []Job, n int, w Watcher) ([]*Result, error) {
	results, errs := make([]*Result, len(jobs)), make([]error, len(jobs))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(max(n, 1), len(jobs)) {
		wg.Go(func() {
			for i := range next {
				j := jobs[i]
				results[i], errs[i] = b.BuildFile(ctx, j.Def, j.Arch, j.File, func(s Stage, done, total int64) {
					w.Progress(i, s, done, total)
				})
				w.Done(i, results[i], errs[i])
			}
		})
	}
	for i := range jobs {
		if ctx.Err() != nil {
			errs[i] = &BuildError{jobs[i].Def.Name, jobs[i].Arch, ctx.Err()}
			continue
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return results, errors.Join(errs...)
}
