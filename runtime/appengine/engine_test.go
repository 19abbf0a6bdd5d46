package appengine_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine"
)

// The examples come up, are linked, and talk to each other.
func TestExamples(t *testing.T) {
	t.Parallel()
	mesh, err := xconnect()
	if err != nil {
		t.Fatal(err)
	}
	var defs []string
	for _, name := range []string{"unix-server", "unix-client", "rest-server", "rest-client"} {
		defs = append(defs, "../../examples/pv-example-"+name)
	}
	r := newRig(t, defs...)
	r.opts.XConnect = []string{mesh}
	r.start().ready()
	links, err := r.ctrl.Graph(context.Background(), "", 0)
	if err != nil || len(links.Graph.Links) != 2 {
		t.Fatalf("links %+v, %v", links, err)
	}
	eventually(t, "the unix client's greeting comes back", func() bool {
		return strings.Contains(r.console("0", "pv-example-unix-client"), "\nHello from client at")
	})
	eventually(t, "the rest client gets its document, with who it is", func() bool {
		return strings.Contains(r.console("0", "pv-example-rest-client"), `"client": "pv-example-rest-client"`)
	})
	if got := r.progress("0"); got != "DONE Factory revision" {
		t.Errorf("progress %s", got)
	}
	r.stop()
	if r.err != nil || r.end != appengine.PoweredOff {
		t.Errorf("ended %v, %v", r.end, r.err)
	}
	nothingLeft(t, r)
}

// nothingLeft looks for mounts below the rig's directories.
func nothingLeft(t *testing.T, r *rig) {
	t.Helper()
	base := filepath.Dir(r.opts.Storage)
	for _, m := range mounts(t) {
		if strings.HasPrefix(m, base) {
			t.Errorf("still mounted: %s", m)
		}
	}
}
