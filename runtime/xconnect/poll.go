package xconnect

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Source is where graphs come from; *pvctrl.Client is one.
type Source interface {
	Graph(ctx context.Context, tag string, wait time.Duration) (*pvctrl.Reply, error)
}

const (
	holdTime = 30 * time.Second      // how long a server may hold a request
	minGap   = 20 * time.Millisecond // between two answers of a server that holds them
)

// Run keeps the mesh in step with the source until ctx is done, then stops it.
// It asks at every interval, at once when refetch gives a value, and soon after
// a container has ended, for then the graph is about to change. A server that
// holds requests until something changes is asked again as soon as it answers.
// A graph that does not arrive changes nothing.
//
// A socket or node that its container has taken away, or hidden under a mount,
// is made again at the interval.
func (m *Mesh) Run(ctx context.Context, src Source, interval time.Duration, refetch <-chan struct{}) {
	defer m.Stop()
	var minding sync.WaitGroup
	defer minding.Wait()
	minding.Go(func() { m.mindAll(ctx, interval) })
	p := poller{m: m, src: src, interval: interval, refetch: refetch}
	for ctx.Err() == nil {
		p.rest(ctx, p.ask(ctx))
	}
}

// rest waits for the next time to ask.
func (p *poller) rest(ctx context.Context, pause time.Duration) {
	end := time.Now().Add(pause)
	for {
		t := time.NewTimer(time.Until(end))
		select {
		case <-t.C:
			return
		case <-p.refetch:
			t.Stop()
			p.tag = "" // the whole graph, whatever the server thinks we have
			return
		case <-p.m.wanted:
			t.Stop()
			p.hurry = firstHurry
			if soon := time.Now().Add(firstHurry); soon.Before(end) {
				end = soon
			}
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// firstHurry is the first pause after a container has ended; each later one is
// twice as long, until the interval is reached.
const firstHurry = 25 * time.Millisecond

type poller struct {
	m         *Mesh
	src       Source
	interval  time.Duration
	refetch   <-chan struct{}
	tag       string
	fails     int
	connected bool
	hurry     time.Duration // 0: no hurry
	problems  string        // of the last graph, so that each is logged once
}

// ask fetches once and returns the pause before the next time.
func (p *poller) ask(ctx context.Context) time.Duration {
	log := p.m.cfg.Log
	asked := time.Now()
	r, again, err := p.fetch(ctx)
	switch {
	case again:
		p.tag = ""
		return 0
	case ctx.Err() != nil:
		return 0
	case err != nil:
		log.Warn("Failed to fetch graph", "err", err)
		p.connected, p.tag = false, ""
		p.fails++
		return min(Backoff(p.fails-1, p.m.cfg.Jitter()), p.interval)
	}
	if !p.connected {
		log.Info("Connected to pv-ctrl")
	}
	// Only a request with a tag shows whether the server holds requests.
	untold := p.tag == "" && r.Tag != ""
	p.connected, p.fails, p.tag = true, 0, r.Tag
	if r.Graph != nil {
		p.apply(r.Graph)
	}
	switch {
	case r.Waits && r.Tag != "", untold:
		p.hurry = 0
		return minGap - time.Since(asked)
	case p.hurry > 0 && p.hurry < p.interval:
		pause := p.hurry
		p.hurry *= 2
		return pause
	}
	p.hurry = 0
	return p.interval
}

// fetch asks the source; again says that refetch broke into it.
func (p *poller) fetch(ctx context.Context) (r *pvctrl.Reply, again bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	broken := make(chan bool, 1)
	go func() {
		select {
		case <-p.refetch:
			cancel()
			broken <- true
		case <-ctx.Done():
			broken <- false
		}
	}()
	r, err = p.src.Graph(ctx, p.tag, holdTime)
	cancel()
	return r, <-broken, err
}

func (p *poller) apply(g *pvctrl.Graph) {
	if text := strings.Join(g.Problems, "; "); text != p.problems {
		p.problems = text
		for _, problem := range g.Problems {
			p.m.cfg.Log.Warn("Link missing required fields", "err", problem)
		}
	}
	links := make([]Link, len(g.Links))
	for i, l := range g.Links {
		links[i] = Resolve(l)
	}
	p.m.Apply(links)
}
