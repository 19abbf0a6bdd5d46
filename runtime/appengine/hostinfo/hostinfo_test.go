package hostinfo_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/hostinfo"
)

// keys are the members of a JSON object in their order.
func keys(t *testing.T, text string) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		t.Fatalf("%s is not an object: %v", text, err)
	}
	var out []string
	for d.More() {
		k, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, k.(string))
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(out, " ")
}

// The members and their order are those that a running appengine gave.
func TestDocuments(t *testing.T) {
	for name, c := range map[string]struct{ got, want string }{
		"uname":   {hostinfo.Uname(), "kernel.name kernel.release kernel.version node.name machine"},
		"sysinfo": {hostinfo.Sysinfo(), "uptime loads.0 loads.1 loads.2 totalram freeram sharedram bufferram totalswap freeswap procs totalhigh freehigh mem_unit"},
		"time":    {hostinfo.Time(time.Now()), "timeval timezone"},
		"storage": {hostinfo.Storage(t.TempDir(), 5), "total free reserved real_free"},
	} {
		if got := keys(t, c.got); got != c.want {
			t.Errorf("%s has %s", name, got)
		}
	}
}

func TestTime(t *testing.T) {
	got := hostinfo.Time(time.Unix(1795388521, 660786000))
	want := `{"timeval":{"tv_sec":1795388521,"tv_usec":660786},"timezone":{"tz_minuteswest":0,"tz_dsttime":0}}`
	if got != want {
		t.Errorf("got %s", got)
	}
}

func TestArch(t *testing.T) {
	if got := hostinfo.Arch(); !regexp.MustCompile(`^[a-z0-9_]+/(32|64)/E[LB]$`).MatchString(got) {
		t.Errorf("%q", got)
	}
}

func TestStorage(t *testing.T) {
	var s struct {
		Total, Free, Reserved uint64
		RealFree              uint64 `json:"real_free"`
	}
	if err := json.Unmarshal([]byte(hostinfo.Storage(t.TempDir(), 10)), &s); err != nil {
		t.Fatal(err)
	}
	if s.Total == 0 || s.Reserved != s.Total/100*10 || s.RealFree > s.Free {
		t.Errorf("%+v", s)
	}
	if got := hostinfo.Storage("/no/such/place", 5); got != "" {
		t.Errorf("a place that is not there has %s", got)
	}
}

func TestInterfaces(t *testing.T) {
	var m map[string][]string
	if err := json.Unmarshal([]byte(hostinfo.Interfaces()), &m); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/sys/class/net/lo"); err == nil && len(m) == 0 {
		t.Error("not even the loopback interface has an address")
	}
}
