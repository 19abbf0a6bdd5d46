package sandbox_test

import (
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

func TestStart(t *testing.T) {
	b := open(t)
	out, exit := b.run(sandbox.Spec{Config: conf(t, `/prog echo:hello "echo:two words" exit:3`)})
	if want := "hello\ntwo words\n"; out != want || exit.Code != 3 {
		t.Errorf("got %q and %v, want %q and exit status 3", out, exit, want)
	}
}
