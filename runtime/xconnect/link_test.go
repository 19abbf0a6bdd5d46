package xconnect_test

import (
	"testing"

	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/xconnect"
)

func TestResolve(t *testing.T) {
	for name, tt := range map[string]struct {
		in         pvctrl.Link
		target     string
		role       string
		restricted bool
	}{
		"target":            {pvctrl.Link{Type: "unix", Target: "/t", Interface: "/i", Role: "r"}, "/t", "r", true},
		"interface":         {pvctrl.Link{Type: "unix", Interface: "/i"}, "/i", "any", true},
		"neither":           {pvctrl.Link{Type: "unix", Consumer: "c", Name: "n"}, "/tmp/pvx_c_n.sock", "any", false},
		"the type's text":   {pvctrl.Link{Type: "dbus", Interface: "dbus", Target: "/t"}, "/t", "any", false},
		"a name on the bus": {pvctrl.Link{Type: "dbus", Interface: "org.x.Y", Target: "/t"}, "/t", "any", true},
	} {
		l := xconnect.Resolve(tt.in)
		if l.Target != tt.target || l.Role != tt.role || l.Restricted() != tt.restricted {
			t.Errorf("%s: %+v, restricted %v", name, l, l.Restricted())
		}
	}
	uid := uint32(5)
	l := xconnect.Resolve(pvctrl.Link{Provider: "_pv_", UID: &uid, ConsumerPID: -1})
	if !l.Provider.Known() || !l.Provider.Host() || l.Consumer.Known() || !l.HasUID || l.UID != 5 {
		t.Errorf("hosted: %+v", l)
	}
}
