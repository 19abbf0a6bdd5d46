package appengine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// apart gives the engine a network namespace for its bridges, so that it
// leaves the machine's alone.
func (r *rig) apart() *rig {
	r.t.Helper()
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- result{nil, err}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		done <- result{f, err}
	}()
	res := <-done
	testreq.Feature(r.t, "network namespaces", res.err == nil, fmt.Sprint(res.err))
	r.t.Cleanup(func() { res.f.Close() })
	r.opts.NetNS = res.f
	return r
}

// pools gives the first revision a device.json with a pool.
func (r *rig) pools() *rig {
	r.t.Helper()
	if err := os.Rename(r.device(poolDevice), filepath.Join(r.exports, "00-device.pvrexport.tgz")); err != nil {
		r.t.Fatal(err)
	}
	return r
}

const poolDevice = `{"groups": [{"name": "app", "status_goal": "STARTED", "restart_policy": "container"}],
	"network": {"pools": {"internal": {"type": "bridge", "bridge": "pvbr0", "subnet": "10.0.5.0/24", "gateway": "10.0.5.1", "nat": false}}}}`

// Containers of a pool reach each other by name, with addresses that stay, and
// one that an update brings is known to those that run already.
func TestPool(t *testing.T) {
	t.Parallel()
	r := newRig(t,
		actor("server", does("listen=:8080", "wait"), app, "network: {pool: internal, hostname: net-server}"),
		actor("client", does("dial=net-server:8080", "dial=late:8080", "wait"), app, "network: {pool: internal, ip: 10.0.5.50}")).apart().pools().start().ready()
	eventually(t, "the client is answered", func() bool {
		return strings.Contains(r.console("0", "client"), "net-server:8080 says you are 10.0.5.50")
	})
	server := r.pid("server")
	if err := r.ctrl.ContainerAction(context.Background(), "server", "restart"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server restarts", func() bool { p := r.pid("server"); return p != 0 && p != server })
	const given = "allocated 10.0.5.2/24 to server from pool internal"
	eventually(t, given, func() bool { return strings.Contains(r.log(), given) })
	if n := strings.Count(r.log(), given); n != 1 {
		t.Errorf("the server's address was given %d times", n)
	}
	r.put("locals/more", r.variant(actor("late", does("listen=:8080", "dial=net-server:8080", "wait"), app, "network: {pool: internal}")))
	r.command(pvctrl.OpLocalRun, "locals/more")
	eventually(t, "the client is answered by the new one", func() bool {
		return strings.Contains(r.console("0", "client")+r.console("locals/more", "client"), "late:8080 says you are 10.0.5.50")
	})
	eventually(t, "the new one is answered", func() bool {
		return strings.Contains(r.console("locals/more", "late"), "net-server:8080 says you are 10.0.5.3")
	})
}

// Two that want one address: the second is refused, with both names.
func TestPoolCollision(t *testing.T) {
	t.Parallel()
	r := newRig(t,
		actor("first", nil, app, "network: {pool: internal, ip: 10.0.5.50}"),
		actor("second", nil, app, "network: {pool: internal, ip: 10.0.5.50}")).apart().pools().start()
	eventually(t, "the reason is in the log", func() bool {
		return strings.Contains(r.log(), `container "second": address 10.0.5.50 of pool "internal" is already in use by container "first"`)
	})
	r.cancel(nil)
	r.wait()
}
