package sandbox_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

// One container from Start until its program has written something, and its end.
func BenchmarkStart(b *testing.B) {
	h := open(b)
	volumes := h.volumes("app")
	s := sandbox.Spec{Name: "app", Config: conf(b, "/prog exit:0"), Volumes: volumes}
	for b.Loop() {
		c, err := h.Start(b.Context(), s)
		if err != nil {
			b.Fatal(err)
		}
		c.Wait(b.Context())
	}
}

// 25 containers at once, with their volumes, until each has said that it is
// ready.
func Benchmark25(b *testing.B) {
	h := open(b)
	img, err := image()
	if err != nil {
		b.Fatal(err)
	}
	cfg := conf(b, "/prog on:30")
	for b.Loop() {
		var wg sync.WaitGroup
		all := make([]*sandbox.Container, 25)
		mounts := make([]*sandbox.Mounted, 25)
		for i := range all {
			wg.Go(func() {
				name := fmt.Sprintf("c%d", i)
				m, err := h.Mount(b.Context(), name, []sandbox.Volume{{Name: "root.squashfs", Image: img}, {Name: "lxc-overlay", Tmpfs: true}})
				if err != nil {
					b.Error(err)
					return
				}
				mounts[i] = m
				volumes := map[string]string{}
				for k, v := range m.Volumes() {
					volumes[strings.Replace(k, name, "app", 1)] = v
				}
				out := &buffer{}
				if all[i], err = h.Start(b.Context(), sandbox.Spec{Name: name, Config: cfg, Volumes: volumes, Console: out}); err != nil {
					b.Error(err)
					return
				}
				waitFor(b, func() bool { return strings.Contains(out.String(), "ready") })
			})
		}
		wg.Wait()
		b.StopTimer()
		for i, c := range all {
			c.Close(b.Context())
			mounts[i].Unmount(b.Context())
		}
		b.StartTimer()
	}
}
