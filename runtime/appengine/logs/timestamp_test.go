package logs_test

import (
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/logs"
)

func TestCheckTimeFormat(t *testing.T) {
	for _, name := range []string{"", "strftime:%F %T", "strftime:%s", "golang:RFC1123Z", "golang:Layout"} {
		if err := logs.CheckTimeFormat(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"iso", "golang:RFC3339Nano", "strftime", "strftime:"} {
		if err := logs.CheckTimeFormat(name); err == nil || !strings.Contains(err.Error(), "want strftime: and a format") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
