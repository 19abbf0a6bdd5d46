package logs_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/logs"
)

// TestKill kills a server that writes and rotates, again and again, and reads
// what is left: every life's lines are there from the first to some last one,
// whole, once and in order, whatever was being compressed at the time.
func TestKill(t *testing.T) {
	if dir := os.Getenv("LOGS_TEST_KILL"); dir != "" {
		writeForever(dir, os.Getenv("LOGS_TEST_LIFE"))
	}
	dir := t.TempDir()
	const lives = 20
	rnd := rand.New(rand.NewPCG(3, 4))
	for life := range lives {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "LOGS_TEST_KILL="+dir, fmt.Sprint("LOGS_TEST_LIFE=", life))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() }) // it does not end by itself
		// The first lines must be there, or the life has told nothing.
		first := fmt.Sprintf("life %d line 0 ", life)
		eventually(t, first, func() bool { return strings.Contains(stored(t, dir, "0/web/lxc/console.log"), first) })
		time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	life, next, torn := -1, 0, 0
	err := logs.Read(t.Context(), dir, logs.ReadOptions{Containers: []string{"web"}}, func(e logs.Entry) error {
		var l, n int
		var end string
		if _, err := fmt.Sscanf(e.Text, "life %d line %d %s", &l, &n, &end); err != nil || end != tailOf(n) {
			if torn++; torn > lives {
				t.Errorf("not a line: %.80q", e.Text)
			}
			return nil
		}
		if l > life {
			life, next = l, 0
		}
		if l != life || n != next {
			return fmt.Errorf("line %d of life %d where line %d of life %d should be", n, l, next, life)
		}
		next++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if life != lives-1 {
		t.Errorf("the last life is %d", life)
	}
	t.Logf("%d torn lines", torn)
}

func tailOf(n int) string { return strings.Repeat(string(rune('a'+n%26)), 80) }

func writeForever(dir, life string) {
	cfg := logs.DefaultConfig()
	cfg.MaxSize, cfg.Hysteresis, cfg.Rotate = 1<<40, 1<<20, 32 // a file is rotated at 32 KiB
	s, err := logs.New(dir, cfg, logs.Options{})
	if err != nil {
		panic(err)
	}
	go func() { _ = s.Run(context.Background()) }()
	if err := s.SetRevision("0"); err != nil {
		panic(err)
	}
	src := s.Source("web", logs.Console, logs.Info)
	for n := 0; ; n++ {
		fmt.Fprintf(src, "life %s line %d %s\n", life, n, tailOf(n))
		if n%50 == 49 {
			_ = s.Flush(context.Background())
		}
	}
}
