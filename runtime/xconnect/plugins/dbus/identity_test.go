package dbus

import (
	"testing"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

func TestRoleCred(t *testing.T) {
	passwd := []byte("root:x:0:0:root:/root:/bin/sh\noperator:x:1001:2001::/:/bin/sh\n" +
		"text:x:notanumber:1::/:\nminus:x:-5:1::/:\ntail:x:12abc:1::/:\nhuge:x:4294967295:1::/:\nshort:x:5\n" +
		"nogid:x:7:::/:\n: :0:0\noperator:x:0:0:second:/:\nlast:x:1002:1002")
	for role, want := range map[string]xconnect.Cred{
		"root":       {UID: 0, GID: 0},
		"operator":   {UID: 1001, GID: 2001}, // the first entry
		"1001":       {UID: 1001, GID: 2001},
		"4242":       {UID: 4242, GID: nobody},
		"last":       {UID: 1002, GID: 1002},
		"any":        {UID: nobody, GID: nobody},
		"":           {UID: nobody, GID: nobody},
		"oper":       {UID: nobody, GID: nobody},
		"text":       {UID: nobody, GID: nobody},
		"minus":      {UID: nobody, GID: nobody},
		"tail":       {UID: nobody, GID: nobody},
		"huge":       {UID: nobody, GID: nobody},
		"short":      {UID: nobody, GID: nobody},
		"nogid":      {UID: nobody, GID: nobody},
		"4294967295": {UID: nobody, GID: nobody},
		"+5":         {UID: nobody, GID: nobody},
	} {
		if got := roleCred(role, passwd); got != want {
			t.Errorf("role %q: got %v, want %v", role, got, want)
		}
	}
	if got := roleCred("0", nil); got != (xconnect.Cred{UID: 0, GID: nobody}) {
		t.Errorf("role 0 without a file: %v", got)
	}
}

func TestMapID(t *testing.T) {
	maps := []byte("         0     100000      65536\n    70000          5          1\n")
	for id, want := range map[uint32]uint32{0: 100000, 1001: 101001, 65535: 165535, 70000: 5} {
		if got, ok := mapID(id, maps); !ok || got != want {
			t.Errorf("%d: %d, %v; want %d", id, got, ok, want)
		}
	}
	for _, id := range []uint32{65536, 70001, 4294967294} {
		if got, ok := mapID(id, maps); ok {
			t.Errorf("%d: %d", id, got)
		}
	}
	if got, ok := mapID(4294967294, []byte("0 0 4294967295\n")); !ok || got != 4294967294 {
		t.Errorf("the host's own: %d, %v", got, ok)
	}
}
