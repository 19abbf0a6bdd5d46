package appengine_test

import (
	"strings"
	"testing"
)

// A container sees its own drivers, of which an appengine knows nothing and can
// load none; that is no error.
func TestDrivers(t *testing.T) {
	t.Parallel()
	r := newRig(t, actor("app", does("request=GET:/drivers:", "request=PUT:/drivers/wifi/load:", "request=PUT:/drivers/unload:", "wait"), app,
		"drivers: {required: [cpu], manual: [wifi]}")).start().ready()
	const want = `GET /drivers: HTTP/1.0 200 OK [{"name":"cpu","type":"REQUIRED","status":"UNKNOWN"},{"name":"wifi","type":"MANUAL","status":"UNKNOWN"}]`
	eventually(t, "the answers", func() bool {
		out := r.console("0", "app")
		return strings.Contains(out, want) && strings.Count(out, "HTTP/1.0 200 OK") == 3
	})
}
