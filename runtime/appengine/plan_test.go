package appengine_test

import (
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine"
	"github.com/pvkit/pvkit/runtime/pvctrltest"
	"github.com/pvkit/pvkit/runtime/testreport"
	"github.com/pvkit/pvkit/runtime/xconnecttest"
)

// The documented test plan of the API, powering off included.
func TestPlan(t *testing.T) {
	t.Parallel()
	mesh, err := xconnect()
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, "../../examples/pv-example-unix-server", "../../examples/pv-example-unix-client")
	r.opts.XConnect = []string{mesh}
	r.start().ready()
	report, err := pvctrltest.Run(t.Context(), pvctrltest.Options{Socket: r.socket(), AllowPoweroff: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Results) != 31 {
		t.Errorf("%d results", len(report.Results))
	}
	for _, result := range report.Results {
		if result.Verdict != pvctrltest.Pass && result.Verdict != pvctrltest.Expected {
			t.Errorf("%+v", result)
		}
	}
	r.wait()
	if r.end != appengine.PoweredOff || r.err != nil {
		t.Errorf("%v, %v", r.end, r.err)
	}
}

// The documented test plan of the service mesh, on the examples that there are.
func TestMeshPlan(t *testing.T) {
	t.Parallel()
	mesh, err := xconnect()
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, name := range []string{"unix-server", "unix-client", "rest-server", "rest-client"} {
		dirs = append(dirs, "../../examples/pv-example-"+name)
	}
	r := newRig(t, dirs...)
	r.opts.XConnect = []string{mesh}
	r.start().ready()
	report, err := xconnecttest.Run(t.Context(), xconnecttest.Options{Socket: r.socket()})
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range report.Results {
		want := testreport.Pass
		if result.Number == 2 || result.Number == 4 {
			want = testreport.Skip // there is no dbus and no drm example
		}
		if result.Verdict != want {
			t.Error(result.Block(true))
		}
	}
}
