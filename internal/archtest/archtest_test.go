// Package archtest holds the architecture as a table: which package of ours
// may import which, and which third-party module belongs to which package.
// ARCHITECTURE.md shows the same in words; a change that needs a new edge
// changes both in the same commit.
package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/pvkit/pvkit/"

// rule is a row: what a room may import.
type rule struct {
	room  string   // path.Match pattern below the module
	ours  []string // patterns below the module
	third []string // import path prefixes outside the standard library
}

var table = []rule{
	{"cmd/pvkit", []string{"internal/cli", "runtime/appengine/sandbox"}, nil},
	{"cmd/*", []string{"runtime/*", "runtime/*/*", "runtime/*/*/*", "internal/*"}, []string{"golang.org/x/sys"}},
	{"pvrexport", []string{"pvrexport/*", "internal/diag", "internal/atomicfile"}, []string{"github.com/klauspost/compress"}},
	{"pvrexport/rootfs", []string{"internal/diag"}, []string{"github.com/klauspost/compress", "github.com/ulikunitz/xz", "golang.org/x/sys"}},
	{"pvrexport/rootfs/rootfstest", []string{"pvrexport/rootfs"}, nil},
	{"pvrexport/squashfs", []string{"pvrexport/rootfs", "pvrexport/squashfs/*"}, []string{"github.com/klauspost/compress", "github.com/ulikunitz/xz", "github.com/pierrec/lz4/v4"}},
	{"pvrexport/squashfs/*", nil, nil},
	{"pvrexport/manifest", []string{"internal/diag"}, nil},
	{"pvrexport/pvs", []string{"pvrexport"}, nil},
	{"pvrexport/bench", nil, nil},
	{"pvrexport/container", []string{"pvrexport", "pvrexport/*", "internal/diag", "internal/atomicfile"}, []string{"gopkg.in/yaml.v3"}},
	{"layer", nil, nil},
	{"layer/bitbake", []string{"internal/diag", "layer/bitbake/pyexpr"}, nil},
	{"layer/bitbake/pyexpr", nil, nil},
	{"layer/combos", []string{"internal/diag", "kas", "kas/menu", "kconfig", "layer/bitbake"}, nil},
	{"layer/lint", []string{"internal/diag", "layer/bitbake", "kas", "kconfig"}, []string{"gopkg.in/yaml.v3"}},
	{"kconfig", []string{"internal/diag"}, nil},
	{"kas", []string{"internal/diag"}, []string{"gopkg.in/yaml.v3"}},
	{"kas/menu", []string{"internal/diag", "kas", "kconfig"}, nil},
	{"kas/menu/tui", []string{"kas", "kas/menu", "kconfig"}, []string{"charm.land/bubbletea/v2"}},
	{"ci", []string{"internal/diag", "kas"}, []string{"gopkg.in/yaml.v3"}},
	{"examples", nil, nil},
	{"examples/*", []string{"examples/internal/*"}, nil},
	{"examples/*/*", []string{"examples/internal/*"}, nil},
	{"runtime/pvctrl", []string{"internal/unixsock"}, nil},
	{"runtime/xconnect", []string{"runtime/pvctrl"}, nil},
	{"runtime/xconnect/relay", []string{"runtime/xconnect", "internal/unixsock"}, []string{"golang.org/x/sys"}},
	{"runtime/xconnect/xconnecttest", []string{"runtime/pvctrl", "runtime/xconnect", "runtime/xconnect/relay", "runtime/nsinject", "internal/testns"}, nil},
	{"runtime/xconnect/bench", nil, nil},
	{"runtime/xconnect/plugins/drm", []string{"runtime/xconnect", "internal/devcgroup"}, []string{"golang.org/x/sys"}},
	{"runtime/xconnect/plugins/*", []string{"runtime/xconnect", "runtime/xconnect/relay"}, []string{"github.com/godbus/dbus/v5", "golang.org/x/sys"}},
	{"runtime/nsinject", []string{"runtime/xconnect", "internal/unixsock"}, []string{"golang.org/x/sys"}},
	{"runtime/pvtx", []string{"pvrexport", "runtime/pvctrl", "runtime/appengine/storage", "internal/atomicfile"}, []string{"golang.org/x/sys"}},
	{"runtime/rundir", []string{"runtime/pvctrl", "internal/atomicfile"}, nil},
	{"runtime/pvcurl", []string{"internal/*"}, nil},
	{"runtime/pvcontrol", []string{"runtime/pvcurl", "runtime/rundir", "internal/*"}, nil},
	{"runtime/pventer", []string{"runtime/rundir", "runtime/appengine/sandbox", "internal/*"}, []string{"golang.org/x/sys"}},
	{"runtime/lxctools", []string{"runtime/pvctrl", "runtime/rundir", "internal/*"}, nil},
	{"runtime/testreport", nil, nil},
	{"runtime/pvctrltest", []string{"runtime/pvctrl", "runtime/pvcurl", "runtime/testreport"}, nil},
	{"runtime/xconnecttest", []string{"runtime/pvctrl", "runtime/testreport", "runtime/xconnect", "runtime/nsinject"}, nil},
	{"runtime/appengine", []string{"pvrexport", "pvrexport/*", "runtime/pvctrl", "runtime/pvtx", "runtime/rundir", "runtime/appengine/*", "runtime/appengine/sandbox/lxcconf", "internal/atomicfile", "internal/unixsock"}, []string{"golang.org/x/sys"}},
	{"runtime/appengine/system", []string{"pvrexport", "runtime/pvctrl", "internal/diag"}, nil},
	{"runtime/appengine/lifecycle", []string{"runtime/pvctrl", "runtime/appengine/system"}, nil},
	{"runtime/appengine/storage", []string{"pvrexport", "runtime/pvctrl", "internal/atomicfile"}, []string{"golang.org/x/sys"}},
	{"runtime/appengine/hostinfo", nil, []string{"golang.org/x/sys"}},
	{"runtime/appengine/settings", []string{"runtime/pvctrl"}, nil},
	{"runtime/appengine/logs", []string{"internal/atomicfile", "internal/unixsock"}, []string{"golang.org/x/sys", "github.com/klauspost/compress"}},
	{"runtime/appengine/daemons", []string{"runtime/pvctrl"}, []string{"golang.org/x/sys"}},
	{"runtime/appengine/ctrl", []string{"runtime/pvctrl", "internal/unixsock"}, []string{"golang.org/x/sys"}},
	{"runtime/appengine/ctrl/ctrltest", []string{"runtime/pvctrl", "runtime/appengine/ctrl", "internal/unixsock"}, []string{"golang.org/x/sys"}},
	{"runtime/appengine/network", []string{"runtime/appengine/system"}, []string{"golang.org/x/sys", "github.com/vishvananda/netlink", "github.com/google/nftables"}},
	{"runtime/appengine/sandbox", []string{"pvrexport/rootfs", "pvrexport/squashfs", "internal/atomicfile", "internal/unixsock", "runtime/appengine/sandbox/*"}, []string{"golang.org/x/sys"}},
	{"runtime/appengine/sandbox/lxcconf", []string{"pvrexport/manifest"}, []string{"golang.org/x/sys"}},
	{"runtime/appengine/sandbox/cgroup", []string{"internal/devcgroup"}, []string{"golang.org/x/sys"}},
	{"runtime/appengine/sandbox/*", nil, []string{"golang.org/x/sys"}},
	{"internal/cli", []string{"*", "*/*", "*/*/*", "runtime/appengine/sandbox/*"}, []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/sys", "golang.org/x/term"}},
	{"internal/difftest", []string{"internal/program", "internal/testreq"}, nil},
	{"internal/*", []string{"internal/diag", "internal/testreq"}, []string{"golang.org/x/sys"}},
}

type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Standard,Imports", module+"...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	n := 0
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		n++
		check(t, p)
	}
	if n < 5 {
		t.Fatalf("go list found %d packages", n)
	}
}

func check(t *testing.T, p pkg) {
	t.Helper()
	room := strings.TrimPrefix(p.ImportPath, module)
	r, ok := find(room)
	if !ok {
		t.Errorf("%s is not in the table: give the room a row", room)
		return
	}
	for _, imp := range p.Imports {
		if rest, ours := strings.CutPrefix(imp, module); ours {
			if !matches(r.ours, rest) {
				t.Errorf("%s imports %s: the table allows %v", room, rest, r.ours)
			}
			continue
		}
		if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
			continue // standard library
		}
		if !prefixed(r.third, imp) {
			t.Errorf("%s imports %s: the table allows %v", room, imp, r.third)
		}
	}
}

func find(room string) (rule, bool) {
	for _, r := range table {
		if ok, _ := path.Match(r.room, room); ok {
			return r, true
		}
	}
	return rule{}, false
}

func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, name); ok {
			return true
		}
	}
	return false
}

func prefixed(prefixes []string, name string) bool {
	for _, p := range prefixes {
		if name == p || strings.HasPrefix(name, p+"/") {
			return true
		}
	}
	return false
}
