package appengine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// PV_LOG_LOGGERS=0 follows no files of containers, PV_LOG_CAPTURE=0 logs nothing.
func TestLogSwitches(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]struct{ console, file bool }{
		"PV_LOG_LEVEL=4":   {true, true},
		"PV_LOG_LOGGERS=0": {true, false},
		"PV_LOG_CAPTURE=0": {},
	} {
		t.Run(setting, func(t *testing.T) {
			r := newRig(t, actor("app", does("say=here", "write=/data/x:1", "wait"), app, "logs: [{file: /data/x}]"))
			r.opts.Settings.Environ = append(r.opts.Settings.Environ, setting)
			r.start().ready()
			dir := filepath.Join(r.opts.Storage, "logs", "0", "app")
			has := func(name, text string) bool {
				b, err := os.ReadFile(filepath.Join(dir, name))
				return err == nil && strings.Contains(string(b), text)
			}
			if want.console {
				eventually(t, "the console", func() bool { return has("lxc/console.log", "here") })
			}
			if want.file {
				eventually(t, "the file", func() bool { return has("data/x", "1") })
				return
			}
			time.Sleep(time.Second) // a file is looked at every half second
			if has("lxc/console.log", "here") != want.console || has("data/x", "1") {
				t.Error("there is a log")
			}
		})
	}
}
