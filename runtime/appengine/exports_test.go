package appengine_test

import (
	"encoding/json"
	"errors"
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
// that and why it does not run are told. An update to it is taken back at once,
// for no retry can help.
func TestForeignExports(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", nil, app))
	def := actor("mixed", does("say=here", "wait"), app)
	here, there := exportFor(t, r.exports, def, container.Arch(runtime.GOARCH)), filepath.Join(r.exports, "mixed-2.tgz")
	first := filepath.Join(r.exports, "mixed-1.tgz")
	if err := os.Rename(here, first); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(exportFor(t, r.exports, def, foreign()), there); err != nil {
		t.Fatal(err)
	}
	want := "it is for " + string(foreign()) + ", and this machine is " + runtime.GOARCH
	r.start().wait()
	if _, ok := errors.AsType[*appengine.RevisionError](r.err); !ok || !strings.Contains(r.err.Error(), "mixed") || !strings.Contains(r.err.Error(), want) {
		t.Errorf("%v: want %q", r.err, want)
	}
	r.saw("which one counts", func(e appengine.Event) bool {
		return e.Kind == appengine.EventNote && e.Container == "mixed" && strings.Contains(e.Text, first) && strings.Contains(e.Text, there)
	})
	e := r.saw("the end of the one that does not run", func(e appengine.Event) bool {
		return e.Container == "mixed" && e.Status == "STOPPED"
	})
	if !strings.Contains(e.Text, want) {
		t.Errorf("%s: want %q", e, want)
	}
	if !strings.Contains(r.log(), "the last counts") || !strings.Contains(r.log(), want) {
		t.Error("want both in the log")
	}

	if err := appengine.Forget(r.opts); err != nil {
		t.Fatal(err)
	}
	moved := filepath.Join(t.TempDir(), "mixed.tgz")
	if err := os.Rename(there, moved); err != nil {
		t.Fatal(err)
	}
	r.start().ready()
	r.put("locals/foreign", moved)
	r.command(pvctrl.OpLocalRun, "locals/foreign")
	eventually(t, "ERROR", func() bool {
		return r.progress("locals/foreign") == "ERROR A container could not be started"
	})
	eventually(t, "the good one runs again", func() bool { return r.boot() == "pv_rev=0" && r.status("mixed") == "STARTED" })
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

// An engine without containers runs, and says that it has none.
func TestNoExports(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start().ready()
	r.saw("that there is nothing", func(e appengine.Event) bool {
		return e.Kind == appengine.EventNote && strings.Contains(e.Text, "no containers")
	})
	// Nor a pv-xconnect, which shows as a daemon that is not installed.
	eventually(t, "pv-xconnect is given up", func() bool {
		list, err := r.ctrl.Daemons(t.Context())
		return err == nil && slices.Contains(list, pvctrl.Daemon{Name: "pv-xconnect", PID: 0, Respawn: false})
	})
}

// The directories may have names longer than the address of a socket.
func TestLongNames(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("calm", does("request=GET:/groups:", "wait"), app))
	long := filepath.Join(filepath.Dir(r.exports), strings.Repeat("long", 40))
	r.opts.Storage, r.opts.RunDir = filepath.Join(long, "storage"), filepath.Join(long, "run")
	r.ctrl = pvctrl.NewClient(r.socket())
	r.start().ready()
	eventually(t, "it is answered", func() bool { return strings.Contains(r.console("0", "calm"), "200 OK") })
	if r.status("calm") != "STARTED" {
		t.Error(r.status("calm"))
	}
}
