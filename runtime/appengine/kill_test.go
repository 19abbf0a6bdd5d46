package appengine_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/storage"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// killRounds is how often TestKilledAnytime kills, 10 by default:
// PVKIT_KILLS=200 go test -run KilledAnytime ./runtime/appengine
func killRounds(t *testing.T) int {
	text := os.Getenv("PVKIT_KILLS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("PVKIT_KILLS: %v", err)
	}
	return n
}

// ledger is what the runtime has acknowledged, and what it was asked last and
// did not come to acknowledge.
type ledger struct {
	meta  map[string]string // acknowledged values
	asked map[string]string // a write that may have happened
	steps map[string][]byte // acknowledged revisions, their states
	done  string            // the last revision that was seen DONE
	tried []string          // those that were to run after it
}

// A runtime that is killed at any instant, while exports are applied, metadata
// is written, revisions are uploaded and tried, has all that it acknowledged
// when it starts again, and runs.
func TestKilledAnytime(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("base", does("wait"), "group: root"), actor("calm", does("wait"), app))
	w := &worker{r: r, files: []string{
		r.variant(actor("base", does("say=other", "wait"), "group: root")), r.variant(actor("base", does("wait"), "group: root")),
		r.variant(actor("calm", does("say=other", "wait"), app)), r.variant(actor("calm", does("wait"), app)),
	}, l: &ledger{meta: map[string]string{}, asked: map[string]string{}, steps: map[string][]byte{}, done: "0"}}
	began := map[string]int{}
	for round := range killRounds(t) {
		cmd, out := r.daemon(func(c *exec.Cmd) { c.Env = append(os.Environ(), "PV_UPDATER_COMMIT_DELAY=0") })
		if round%4 == 0 { // while it starts
			time.Sleep(rand.N(400 * time.Millisecond))
		} else {
			w.up(out)
			w.l.check(t, r)
			began[w.work(round, rand.N(700*time.Millisecond))]++
		}
		cmd.Process.Kill()
		cmd.Wait()
		w.l.audit(t, r)
		if t.Failed() {
			t.Fatalf("after round %d:\n%s", round, out)
		}
	}
	cmd, out := r.daemon(nil)
	w.up(out)
	w.l.check(t, r)
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	nothingLeft(t, r)
	t.Logf("%d rounds; killed while %v; %d revisions and %d keys were acknowledged", killRounds(t), began, len(w.l.steps), len(w.l.meta))
}

// worker keeps a runtime busy until it is gone.
type worker struct {
	r     *rig
	l     *ledger
	files []string
	next  int
}

// up waits until everything runs.
func (w *worker) up(out fmt.Stringer) {
	w.r.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if w.r.status("base") == "STARTED" && w.r.status("calm") == "STARTED" {
			return
		}
		if time.Now().After(end) {
			w.r.t.Fatalf("it does not come up again: boot state %q\n%s", w.r.boot(), out)
		}
	}
}

// work writes metadata and makes updates for a time, and says what was going on
// at its end.
func (w *worker) work(round int, length time.Duration) string {
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	if round%2 == 0 {
		for n := 0; ctx.Err() == nil; n++ {
			w.write(ctx, fmt.Sprintf("key%d", n%7), fmt.Sprintf("%d.%d", round, n))
		}
		return "metadata was written"
	}
	for n := 0; ; n++ {
		if what := w.update(ctx, fmt.Sprintf("locals/r%d-%d", round, n)); ctx.Err() != nil {
			return what
		}
	}
}

func (w *worker) write(ctx context.Context, key, value string) {
	w.l.asked[key] = value
	if w.r.ctrl.PutMeta(ctx, pvctrl.UserMeta, key, value) == nil {
		w.l.meta[key] = value
		delete(w.l.asked, key)
	}
}

// update uploads a revision and has it tried.
func (w *worker) update(ctx context.Context, rev string) string {
	w.next++
	state, err := w.r.push(ctx, rev, w.files[w.next%len(w.files)])
	if err != nil {
		return "a revision was uploaded"
	}
	w.l.steps[rev] = state
	w.l.tried = append(w.l.tried, rev)
	if err := w.r.ctrl.Command(ctx, pvctrl.Command{Op: pvctrl.OpLocalRun, Payload: rev}); err != nil {
		return "a revision was about to run"
	}
	for last := ""; ; {
		p, err := w.r.ctrl.Progress(ctx, rev)
		if ctx.Err() != nil {
			return "a revision was " + last
		}
		if err != nil {
			continue // between two cycles nobody answers
		}
		switch last = p.Status; last {
		case "DONE":
			w.l.done, w.l.tried = rev, nil
			return "a revision was DONE"
		case "UPDATED":
			return "a revision was UPDATED"
		case "ERROR", "WONTGO":
			w.r.t.Errorf("%s: %s, %s", rev, p.Status, p.StatusMsg)
			return last
		}
	}
}

// check compares what a runtime says with what an earlier one acknowledged.
func (l *ledger) check(t *testing.T, r *rig) {
	t.Helper()
	list, err := r.ctrl.Meta(t.Context(), pvctrl.UserMeta)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range list {
		got[e.Key] = e.Value
	}
	for _, key := range slices.Sorted(maps.Keys(l.meta)) {
		if maybe, asked := l.asked[key]; got[key] != l.meta[key] && !(asked && got[key] == maybe) {
			t.Errorf("%s is %q, and %q was acknowledged", key, got[key], l.meta[key])
		}
	}
	for key := range l.asked { // from now on it is one or the other
		if got[key] != "" {
			l.meta[key] = got[key]
		}
	}
	clear(l.asked)
	for _, rev := range slices.Sorted(maps.Keys(l.steps)) {
		if text, err := r.ctrl.Step(t.Context(), rev); err != nil || !bytes.Equal(text, l.steps[rev]) {
			t.Errorf("revision %s is another one: %v", rev, err)
		}
	}
}

// audit opens the storage that a killed runtime has left: what it boots is
// there and whole, and so is every revision that was acknowledged.
func (l *ledger) audit(t *testing.T, r *rig) {
	t.Helper()
	if _, err := os.Stat(r.opts.Storage); err != nil {
		return // it had not come that far
	}
	store, err := storage.Open(r.opts.Storage, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	boot, err := store.Boot()
	if err != nil {
		if len(l.meta) > 0 || len(l.steps) > 0 {
			t.Error(err)
		}
		return
	}
	revs := append(slices.Collect(maps.Keys(l.steps)), boot.Rev)
	if boot.Try != "" {
		revs = append(revs, boot.Try)
	}
	for _, rev := range revs {
		if err := store.Verify(t.Context(), rev, nil); err != nil {
			t.Errorf("boot state %+v: revision %s: %v", boot, rev, err)
		}
	}
	if boot.Rev != l.done && !slices.Contains(l.tried, boot.Rev) {
		t.Errorf("it boots %s; %s was DONE, and after it ran %s", boot.Rev, l.done, strings.Join(l.tried, ", "))
	}
}
