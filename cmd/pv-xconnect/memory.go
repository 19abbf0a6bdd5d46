package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	worthwhile = 2 << 20 // bytes, to be given back
	quiet      = 1 << 20 // bytes allocated between two looks by a daemon that has little to do
)

// giveBack returns memory to the system after a busy time. By itself Go collects
// garbage when more is allocated or after two minutes, and a thousand clients
// that came at once and then say nothing leave the stacks of their beginnings.
func giveBack(ctx context.Context, every time.Duration) {
	s := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/gc/heap/allocs:bytes"},
	}
	look := func() (held, allocated uint64) {
		metrics.Read(s)
		return s[0].Value.Uint64() - s[1].Value.Uint64(), s[2].Value.Uint64()
	}
	t := time.NewTicker(every)
	defer t.Stop()
	low, before := look()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		held, allocated := look()
		if allocated-before < quiet && held > low+worthwhile {
			debug.FreeOSMemory()
			low, allocated = look()
		}
		low, before = min(low, held), allocated
	}
}
