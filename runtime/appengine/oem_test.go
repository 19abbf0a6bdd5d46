package appengine_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// A revision's file of the vendor is a source of settings: stronger than the
// installation's file, weaker than the environment. What it may not set is named.
func TestVendorSettings(t *testing.T) {
	t.Parallel()
	const text = "PV_UPDATER_GOALS_TIMEOUT=77\nPV_LOG_LEVEL=5\nPV_SECUREBOOT_MODE=strict\nPV_UPDATER_COMMIT_DELAY=9\n"
	sum := sha256.Sum256([]byte(text))
	id := hex.EncodeToString(sum[:])
	r := newRig(t, actor("app", nil, app))
	state, err := pvrexport.DecodeState(strings.NewReader(`{"#spec":"` + pvrexport.Spec + `","pv-oem-developer-001/default.config":"` + id + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	objects := &pvrexport.Memory{}
	objects.Put(id, []byte(text))
	f, err := os.Create(filepath.Join(r.exports, "vendor.pvrexport.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := pvrexport.Write(context.Background(), f, state, objects, pvrexport.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r.start().ready()
	list, err := r.ctrl.Settings(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]pvctrl.Setting{
		"PV_UPDATER_GOALS_TIMEOUT": {Value: "77", Modified: "oem config"},
		"PV_LOG_LEVEL":             {Value: "5", Modified: "oem config"},
		"PV_UPDATER_COMMIT_DELAY":  {Value: "1", Modified: "env"},
		"PV_SECUREBOOT_MODE":       {Value: "disabled", Modified: "pv conf file"},
	} {
		for _, s := range list {
			if s.Key == key && (s.Value != want.Value || s.Modified != want.Modified) {
				t.Errorf("%s is %s from %s", key, s.Value, s.Modified)
			}
		}
	}
	if !strings.Contains(r.log(), "pv-oem-developer-001/default.config:3: PV_SECUREBOOT_MODE") {
		t.Errorf("nothing about what it may not set:\n%s", r.log())
	}
}
