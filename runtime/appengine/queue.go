package appengine

import "sync"

// queue runs functions in order in a goroutine of its own. Adding never waits,
// so the goroutine that owns the supervisor's state can hand out work that
// does. The zero value is ready.
type queue struct {
	mu    sync.Mutex // guards what follows
	work  []func()
	busy  bool
	group sync.WaitGroup
}

// add appends work. The goroutine exists only while there is some.
func (q *queue) add(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.work = append(q.work, f)
	if !q.busy {
		q.busy = true
		q.group.Go(q.run)
	}
}

func (q *queue) run() {
	for {
		q.mu.Lock()
		if len(q.work) == 0 {
			q.busy = false
			q.mu.Unlock()
			return
		}
		f := q.work[0]
		q.work = q.work[1:]
		q.mu.Unlock()
		f()
	}
}

// wait returns when all is done that was added before.
func (q *queue) wait() { q.group.Wait() }
