package main

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"
)

// What a busy time has taken goes back when it is over, and not before.
func TestGiveBack(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { giveBack(ctx, 20*time.Millisecond) })
	held := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.Sys - m.HeapReleased
	}
	runtime.GC()
	time.Sleep(100 * time.Millisecond)
	base := held()
	keep := make([][]byte, 64)
	for i := range keep {
		keep[i] = make([]byte, 1<<20)
		keep[i][0] = 1
	}
	if got := held(); got < base+32<<20 {
		t.Fatalf("64 MiB show as %d bytes", int64(got-base))
	}
	runtime.KeepAlive(keep)
	for end := time.Now().Add(10 * time.Second); held() > base+16<<20; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes are still held", held()-base)
		}
	}
}
