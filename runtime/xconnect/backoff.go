package xconnect

import (
	"context"
	"time"
)

const (
	firstPause = 100 * time.Millisecond
	longPause  = 10 * time.Second
)

// Backoff is the pause after the failed attempt with that number, counted from
// 0: twice as long each time, from 100 ms up to 10 s, less a part of its half.
// jitter, from 0 to 1, says how much; it keeps links that fail together from
// trying together.
func Backoff(attempt int, jitter float64) time.Duration {
	d := longPause
	if attempt < 7 { // 100 ms << 7 is over the cap
		d = firstPause << max(attempt, 0)
	}
	jitter = min(max(jitter, 0), 1)
	return d - time.Duration(jitter*float64(d/2))
}

// Sleep waits for d and reports whether it did so to the end: false means that
// ctx ended first.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
