package pvctrl_test

import (
	"encoding/json"
	"testing"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// The texts are what a running appengine answered.
func TestDocumentsKeepTheirText(t *testing.T) {
	for _, tt := range []struct {
		doc  any
		text string
	}{
		{new([]pvctrl.Container), `[{"name":"pv-example-norole","group":"app","status":"STARTED","status_goal":"STARTED","restart_policy":"container","roles":[],"auto_recovery":{"policy":"on-failure","max_retries":5,"current_retries":0,"stable_timeout":30,"is_stable":"false","backoff_policy":"reboot"},"user_stopped":"false"},{"name":"pv-example-unix-client","group":"root","status":"STARTED","status_goal":"STARTED","restart_policy":"system","roles":["mgmt"]}]`},
		{new([]pvctrl.Group), `[{"name":"data","status_goal":"MOUNTED","restart_policy":"system","status":"READY"},{"name":"app","status_goal":"STARTED","restart_policy":"container","status":"READY","auto_recovery":{"max_retries":5,"stable_timeout":30,"backoff_policy":"reboot"}}]`},
		{new([]pvctrl.Daemon), `[{"name":"hwrngd","pid":0,"respawn":true},{"name":"pv-xconnect","pid":-1,"respawn":false}]`},
		{new(pvctrl.Progress), `{"status":"DONE","status-msg":"Factory revision","progress":100,"retries":0}`},
	} {
		if err := json.Unmarshal([]byte(tt.text), tt.doc); err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		got, err := json.Marshal(tt.doc)
		if err != nil || string(got) != tt.text {
			t.Errorf("got  %s (%v)\nwant %s", got, err, tt.text)
		}
	}
}

func TestStatusRefusesAnUnknownWord(t *testing.T) {
	if _, err := pvctrl.ParseStatus("RUNNING"); err == nil {
		t.Error("RUNNING was accepted")
	}
}
