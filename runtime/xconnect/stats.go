package xconnect

import (
	"sync/atomic"
	"time"
)

// Stats counts what a link does. Plugins add, the status page reads; every
// method may be called at the same time as the others.
type Stats struct {
	active, total, refused, errors atomic.Int64
	toProvider, toConsumer         atomic.Int64
	files                          atomic.Int64
	latency                        [len(LatencyBounds) + 1]atomic.Int64
	latencySum                     atomic.Int64
	lastError                      atomic.Pointer[string]
}

// LatencyBounds are the upper bounds of the latency histogram; one more bucket
// holds what is slower.
var LatencyBounds = [...]time.Duration{
	100 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, time.Second,
}

// Open counts a connection of the consumer's; call the result when it ends.
func (s *Stats) Open() (done func()) {
	s.total.Add(1)
	s.active.Add(1)
	return func() { s.active.Add(-1) }
}

// Refused counts a connection that was over the limit.
func (s *Stats) Refused() { s.refused.Add(1) }

// Fail counts an error and keeps its text.
func (s *Stats) Fail(err error) {
	s.errors.Add(1)
	text := err.Error()
	s.lastError.Store(&text)
}

// ToProvider and ToConsumer count bytes.
func (s *Stats) ToProvider(n int) { s.toProvider.Add(int64(n)) }

// ToConsumer counts bytes of the other direction.
func (s *Stats) ToConsumer(n int) { s.toConsumer.Add(int64(n)) }

// HoldFiles counts descriptors that are on their way and returns how many there
// are now.
func (s *Stats) HoldFiles(change int) int { return int(s.files.Add(int64(change))) }

// Connected notes how long it took from a consumer's connection being accepted
// to the provider's being there.
func (s *Stats) Connected(d time.Duration) {
	i := 0
	for i < len(LatencyBounds) && d > LatencyBounds[i] {
		i++
	}
	s.latency[i].Add(1)
	s.latencySum.Add(int64(d))
}

// Counters is a reading of Stats.
type Counters struct {
	Active       int64   `json:"active"`
	Total        int64   `json:"total"`
	Refused      int64   `json:"refused"`
	Errors       int64   `json:"errors"`
	ToProvider   int64   `json:"bytes_to_provider"`
	ToConsumer   int64   `json:"bytes_to_consumer"`
	Latency      []int64 `json:"connect_latency"` // one more than LatencyBounds, not cumulative
	LatencySumNS int64   `json:"connect_latency_sum_ns"`
	LastError    string  `json:"last_error,omitempty"`
}

// Read reads the counters, each by itself.
func (s *Stats) Read() Counters {
	c := Counters{
		Active: s.active.Load(), Total: s.total.Load(), Refused: s.refused.Load(), Errors: s.errors.Load(),
		ToProvider: s.toProvider.Load(), ToConsumer: s.toConsumer.Load(),
		Latency: make([]int64, len(s.latency)), LatencySumNS: s.latencySum.Load(),
	}
	for i := range s.latency {
		c.Latency[i] = s.latency[i].Load()
	}
	if p := s.lastError.Load(); p != nil {
		c.LastError = *p
	}
	return c
}
