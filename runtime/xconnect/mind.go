package xconnect

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// minded is what an attempt has made in a consumer.
type minded struct {
	root    Minder
	cancel  context.CancelCauseFunc
	looking bool // guarded by Mesh.mu
	looks   sync.WaitGroup
}

// mind has the attempt watched over until the result is called.
func (m *Mesh) mind(e *entry, consumer Root, cancel context.CancelCauseFunc) (stop func()) {
	root, ok := consumer.(Minder)
	if !ok {
		return func() {}
	}
	w := &minded{root: root, cancel: cancel}
	m.mu.Lock()
	e.minded = w
	m.mu.Unlock()
	return func() {
		m.mu.Lock()
		e.minded = nil
		m.mu.Unlock()
		w.looks.Wait()
	}
}

// mindAll looks at every interval whether what the links have made is still
// there, until ctx is done.
func (m *Mesh) mindAll(ctx context.Context, interval time.Duration) {
	for Sleep(ctx, interval) {
		m.mu.Lock()
		var all []*minded
		for _, e := range m.links {
			if w := e.minded; w != nil && e.state == Up && !w.looking {
				w.looking = true
				w.looks.Add(1)
				all = append(all, w)
			}
		}
		m.mu.Unlock()
		for _, w := range all {
			if m.look(w, false) {
				continue
			}
			// A container can make a look at its files take long; it keeps only
			// its own links waiting.
			go m.look(w, true)
		}
	}
}

// look ends an attempt of which something is missing. It reports false if it has
// to wait to be sure; then looking goes on.
func (m *Mesh) look(w *minded, wait bool) bool {
	path, sure := w.root.Displaced(wait)
	if path != "" {
		w.cancel(fmt.Errorf("%s: %w", path, ErrDisplaced))
	} else if !sure && !wait {
		return false
	}
	m.mu.Lock()
	w.looking = false
	m.mu.Unlock()
	w.looks.Done()
	return true
}
