package appengine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/internal/unixsock"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
)

// TestReplay sends the requests that upstream's appengine was asked to an
// engine with the same containers, from the host and from inside the
// containers.
func TestReplay(t *testing.T) {
	mesh, err := xconnect()
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t,
		actor(ctrltest.Norole, nil, "group: app", "restart_policy: container", "status_goal: STARTED", "roles: [nobody]"),
		actor(ctrltest.Client, nil, "group: root", "services: {required: [{name: raw-unix, target: /run/pv/services/raw-unix.sock}]}"),
		actor(ctrltest.Server, nil, "group: root", "services: {exports: [{name: raw-unix, type: unix, socket: /run/example/raw.sock}]}"))
	r.opts.XConnect = []string{mesh}
	r.opts.Settings.Environ = nil // the captures were made with the usual times
	r.start().ready()
	inside := map[string]string{}
	for _, name := range []string{ctrltest.Norole, ctrltest.Client} {
		eventually(t, "the list of what runs is written", func() bool { return r.pid(name) > 0 })
		inside[name] = cgroupOf(t, r.pid(name))
	}
	state, err := r.ctrl.Step(t.Context(), "0")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := ctrltest.ObjectMasks(string(state))
	if err != nil {
		t.Fatal(err)
	}
	ctrltest.Replay(t, ctrltest.Target{
		State: string(state), Settle: 10 * time.Second,
		Masks: slices.Concat(ctrltest.DeviceMasks(), objects, []ctrltest.Mask{
			{Pattern: regexp.MustCompile(regexp.QuoteMeta(r.opts.Storage)), With: "/var/pantavisor/storage"},
			{Pattern: regexp.MustCompile(regexp.QuoteMeta(filepath.Dir(r.opts.RunDir)) + `|/var/run/pantavisor`), With: "/run/pantavisor"},
			{Pattern: regexp.MustCompile(`/var/run/pv/`), With: "/run/pv/"},
			// Theirs was told by the environment to log to standard output as well.
			{Pattern: regexp.MustCompile(`"value":"196","modified":"env"`), With: `"value":"132","modified":"pv conf file"`},
			{Pattern: regexp.MustCompile(`"log.server.outputs":196`), With: `"log.server.outputs":132`},
			// Theirs was built with the hosted bus.
			{Pattern: regexp.MustCompile(`,{"name":"pv-dbus",[^}]*}`)},
		}),
		Dial: func(caller string) (net.Conn, error) {
			if caller == ctrltest.Host {
				return unixsock.Dial(context.Background(), "unix", r.socket())
			}
			return ctrltest.DialInside(inside[caller], r.socket())
		},
	}, slices.Concat(ctrltest.ServerDifferences(), ctrltest.StopDifferences(), differences))
}

// differences are the engine's own ones.
var differences = []ctrltest.Difference{
	{Captures: []int{80}, Part: ctrltest.Body, Sometimes: true, Reason: "the garbage is collected already: a command is done at once, not after up to 2 s"},
	{Captures: []int{84}, Part: ctrltest.Status, Sometimes: true, Reason: "the same: there is room for another command"},
	{Captures: []int{84}, Part: ctrltest.Headers, Sometimes: true, Reason: "the same"},
	{Captures: []int{84}, Part: ctrltest.Body, Sometimes: true, Reason: "the same"},
	{Captures: []int{134, 135}, Part: ctrltest.Body, Sometimes: true, Reason: "on a busy machine the update is stable by then"},
}

// cgroupOf is where the unified hierarchy has a process.
func cgroupOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
			dir := filepath.Join(mount, path)
			if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil && strings.Contains(dir, "/lxc/") {
				return dir
			}
		}
		err = errors.New("it is not mounted")
	}
	testreq.Feature(t, "cgroup2", false, fmt.Sprintf("containers have no cgroup here: %q, %v", text, err))
	return ""
}
