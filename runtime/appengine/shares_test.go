package appengine_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What run.json exports is where PV_FILEIMPORTS looks for it, also when the
// container that has it was restarted; a path that is not there ends the start
// with its name.
func TestShares(t *testing.T) {
	t.Parallel()
	const group = "restart_policy: container\nauto_recovery: {policy: \"no\"}\n"
	r := newRig(t,
		actor("provider", nil, group+"group: platform\nexports: [/actor, data]"),
		actor("consumer", does("ls=/etc", "wait"), app, "args: {PV_FILEIMPORTS: \"provider/actor:etc/imported\"}")).start().ready()
	eventually(t, "the file is there", func() bool { return strings.Contains(r.console("0", "consumer"), "entry imported") })
	for _, name := range []string{"provider", "consumer"} {
		before := r.pid(name)
		if err := r.ctrl.ContainerAction(context.Background(), name, "restart"); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+" runs again", func() bool { p := r.pid(name); return p != 0 && p != before })
	}
	eventually(t, "the file is there again", func() bool { return strings.Count(r.console("0", "consumer"), "entry imported") == 2 })

	r.put("locals/missing", r.variant(actor("provider", nil, group+"group: platform\nexports: [/nothing]")))
	r.command("LOCAL_RUN", "locals/missing")
	eventually(t, "the reason", func() bool {
		return strings.Contains(r.log(), "export /nothing: open /nothing: no such file or directory")
	})
}

// Containers see the machine's firmware and modules, if it has them and their
// run.json does not refuse.
func TestFirmware(t *testing.T) {
	t.Parallel()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, actor("takes", nil, app), actor("refuses", nil, app, "args: {PV_AUTOMODFW: false}")).start().ready()
	for _, name := range []string{"takes", "refuses"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", r.pid(name)))
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"/lib/firmware", "/lib/modules/" + unix.ByteSliceToString(u.Release[:])} {
			st, err := os.Stat(dir)
			want := name == "takes" && err == nil && st.IsDir()
			if got := strings.Contains(string(text), " "+dir+" ro,"); got != want {
				t.Errorf("%s has %s read-only: %t, want %t\n%s", name, dir, got, want, text)
			}
		}
	}
}
