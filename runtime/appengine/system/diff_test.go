package system_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/system"
)

func object(key, digit string) string { return fmt.Sprintf(`,%q:%q`, key, strings.Repeat(digit, 64)) }

func TestDiff(t *testing.T) {
	app, sys := `,"group":"app"`, `,"group":"root"`
	base := run("a", app) + object("a/root.squashfs", "1") + object("_config/a/etc/x", "1") + run("s", sys) + object("s/root.squashfs", "1") + object("bsp/kernel", "1")
	for name, c := range map[string]struct {
		from, to string
		changed  string
		reboot   string // part of the reason
	}{
		"nothing":           {base, base, "", ""},
		"signatures":        {base, base + `,"_sigs/a.json":{"x":1},"_sigs/s.json":{}`, "", ""},
		"sources":           {base, base + `,"s/src.json":{"x":1},"bsp/build.json":{},"a/build.json":{}`, "", ""},
		"an object":         {base, strings.Replace(base, object("a/root.squashfs", "1"), object("a/root.squashfs", "2"), 1), "a", ""},
		"a configuration":   {base, strings.Replace(base, object("_config/a/etc/x", "1"), "", 1), "a", ""},
		"a run.json":        {base, strings.Replace(base, run("a", app), run("a", app+`,"status_goal":"READY"`), 1), "a", ""},
		"a new container":   {base, base + run("b", app), "b", ""},
		"a container less":  {base + run("b", app) + object("b/x", "3"), base, "b", ""},
		"a system part":     {base, strings.Replace(base, object("s/root.squashfs", "1"), object("s/root.squashfs", "2"), 1), "s", "the restart policy of s is system"},
		"a new system part": {base, base + run("t", sys), "t", "the restart policy of t is system"},
		"a policy, before":  {base, strings.Replace(base, run("s", sys), run("s", sys+`,"restart_policy":"container"`), 1), "s", "the restart policy of s is system"},
		"a policy, after":   {base, strings.Replace(base, run("a", app), run("a", app+`,"restart_policy":"system"`), 1), "a", "the restart policy of a is system"},
		"the bsp":           {base, strings.Replace(base, object("bsp/kernel", "1"), object("bsp/kernel", "2"), 1), "", "bsp/kernel differs, which belongs to no container"},
		"the groups":        {base, base + `,"groups.json":[{"name":"root"},{"name":"app"}]`, "", "groups.json differs"},
		"a stray file":      {base, base + object("nobody/x", "1"), "", "nobody/x differs"},
		"a stray overlay":   {base, base + object("_config/nobody/x", "1"), "", "_config/nobody/x differs"},
		"a longer name":     {base + run("a-b", app) + object("a-b/x", "1"), base + run("a-b", app) + object("a-b/x", "2"), "a-b", ""},
		"ignored groups": {base + `,"device.json":{"groups":[{"name":"root"},{"name":"app"}]},"groups.json":[]`,
			base + `,"device.json":{"groups":[{"name":"root"},{"name":"app"}]}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := decode(t, state(c.from)), decode(t, state(c.to))
			got := system.Diff(from, parse(t, state(c.from)), to, parse(t, state(c.to)))
			if strings.Join(got.Containers, " ") != c.changed {
				t.Errorf("changed %v, want %q", got.Containers, c.changed)
			}
			if (got.Reboot == "") != (c.reboot == "") || !strings.Contains(got.Reboot, c.reboot) {
				t.Errorf("reboot %q, want %q", got.Reboot, c.reboot)
			}
		})
	}
}
