package testreq_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
)

// recorder is a testing.TB that notes how a test would end.
type recorder struct {
	testing.TB
	end string
}

func (r *recorder) Helper() {}
func (r *recorder) Skipf(f string, a ...any) {
	r.end = "skip: " + fmt.Sprintf(f, a...)
	runtime.Goexit()
}
func (r *recorder) Fatalf(f string, a ...any) {
	r.end = "fatal: " + fmt.Sprintf(f, a...)
	runtime.Goexit()
}

func outcome(f func(testing.TB)) string {
	r := &recorder{end: "runs"}
	done := make(chan struct{})
	go func() { defer close(done); f(r) }()
	<-done
	return r.end
}

func TestNeeds(t *testing.T) {
	missing := func(t testing.TB) { testreq.Tool(t, "no-such-tool") }
	env := func(t testing.TB) { testreq.Env(t, "PVKIT_NO_SUCH", "a checkout") }
	for _, c := range []struct {
		name, require string
		f             func(testing.TB)
		want          string
	}{
		{"met", "all", func(t testing.TB) { testreq.Tool(t, "go") }, "runs"},
		{"missing tool", "", missing, "skip: testreq: needs no-such-tool: no no-such-tool on PATH"},
		{"forbidden by name", "root,no-such-tool", missing, "fatal: testreq: no-such-tool is required: no no-such-tool on PATH"},
		{"forbidden by all", "all", missing, "fatal: testreq: no-such-tool is required: no no-such-tool on PATH"},
		{"other name", "root", missing, "skip: testreq: needs no-such-tool: no no-such-tool on PATH"},
		{"optional", "all", env, "skip: testreq: optional PVKIT_NO_SUCH is not set: a checkout"},
		{"optional by name", "PVKIT_NO_SUCH", env, "fatal: testreq: PVKIT_NO_SUCH is required and not set: a checkout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("PVKIT_REQUIRE", c.require)
			if got := outcome(c.f); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
