package appengine_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport/container"
	"github.com/pvkit/pvkit/runtime/appengine"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// foreign is another machine than this one.
func foreign() container.Arch {
	if runtime.GOARCH == "riscv64" {
		return "amd64"
	}
	return "riscv64"
}

// Exports of one container for several machines: the last one counts, and both
// that and why it does not run are told.
func TestForeignExports(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", nil, app))
	def := actor("mixed", nil, "group: app", "auto_recovery: {policy: on-failure, max_retries: 1, retry_delay: 60, backoff_policy: never}")
	here := exportFor(t, r.exports, def, container.Arch(runtime.GOARCH))
	first, last := filepath.Join(r.exports, "mixed-1.tgz"), filepath.Join(r.exports, "mixed-2.tgz")
	if err := os.Rename(here, first); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(exportFor(t, r.exports, def, foreign()), last); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.saw("which one counts", func(e appengine.Event) bool {
		return e.Kind == appengine.EventNote && e.Container == "mixed" && strings.Contains(e.Text, first) && strings.Contains(e.Text, last)
	})
	e := r.saw("the end of the one that does not run", func(e appengine.Event) bool {
		return e.Container == "mixed" && e.Status == "RECOVERING"
	})
	if want := "is for " + string(foreign()) + ", and this machine is " + runtime.GOARCH; !strings.Contains(e.Text, want) {
		t.Errorf("%s: want %q", e, want)
	}
	eventually(t, "both in the log", func() bool {
		return strings.Contains(r.log(), "the last counts") && strings.Contains(r.log(), "is for "+string(foreign()))
	})
	eventually(t, "the other one runs", func() bool { return r.status("calm") == "STARTED" })
}

// The same container with the same content twice is nothing to tell.
func TestSameExportTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", nil, app))
	b, err := os.ReadFile(filepath.Join(r.exports, "calm"+container.Suffix))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.exports, "copy.tgz"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	r.start().ready()
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.events, func(e appengine.Event) bool { return e.Container == "calm" && e.Kind == appengine.EventNote }); i >= 0 {
		t.Error(r.events[i])
	}
}

// Links are written as the graph's own document has them.
func TestEventJSON(t *testing.T) {
	text, err := json.Marshal(appengine.Event{Kind: appengine.EventLinks, Links: []pvctrl.Link{{Consumer: "a", ConsumerPID: 7, Provider: "b", Name: "n", Type: "unix", Target: "/t", Socket: "/s"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"kind":"links"`, `"links":[{"consumer":"a","consumer_pid":7,"provider":"b"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if text, err = json.Marshal(appengine.Event{Kind: appengine.EventLinks}); err != nil || !strings.Contains(string(text), `"links":[]`) {
		t.Errorf("%s, %v", text, err)
	}
	if text, err = json.Marshal(appengine.Event{Kind: appengine.EventNote}); err != nil || strings.Contains(string(text), "links") {
		t.Errorf("%s, %v", text, err)
	}
}
