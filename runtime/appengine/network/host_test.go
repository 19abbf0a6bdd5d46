package network_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/network"
)

// place is a network namespace for tests: the host's or a container's. Nothing
// here touches the machine's own.
type place struct {
	t    testing.TB
	file *os.File
	pid  int // of a container
}

// newHost makes an empty namespace to play the host.
func newHost(t testing.TB) *place {
	t.Helper()
	testreq.Root(t)
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
	r := <-done
	testreq.Feature(t, "network namespaces", r.err == nil, fmt.Sprint(r.err))
	t.Cleanup(func() { r.f.Close() })
	p := &place{t: t, file: r.f}
	p.run(func() { p.must(netlink.LinkSetUp(p.link("lo"))) })
	return p
}

// newContainer starts a process in a namespace of its own.
func newContainer(t testing.TB) *place {
	t.Helper()
	testreq.Root(t)
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err := cmd.StdinPipe() // it ends with the test process
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &place{t, f, cmd.Process.Pid}
}

// run runs f on a thread in the namespace and waits.
func (p *place) run(f func()) {
	p.t.Helper()
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Setns(int(p.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		f()
	}()
	if err := <-done; err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Error(err)
	}
}

// link is only for use inside run.
func (p *place) link(name string) netlink.Link {
	p.t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		p.t.Errorf("%s: %v", name, err)
		return &netlink.Dummy{}
	}
	return l
}

func (p *place) add(l netlink.Link, addr string) {
	p.t.Helper()
	p.run(func() {
		p.must(netlink.LinkAdd(l))
		if addr != "" {
			a, err := netlink.ParseAddr(addr)
			p.must(err)
			p.must(netlink.AddrAdd(l, a))
		}
		p.must(netlink.LinkSetUp(l))
	})
}

// device adds something that is no bridge: a cable to nowhere.
func (p *place) device(name, addr string) {
	p.t.Helper()
	nowhere := newHost(p.t)
	p.add(&netlink.Veth{LinkAttrs: named(name), PeerName: "peer", PeerNamespace: netlink.NsFd(nowhere.file.Fd())}, addr)
	nowhere.run(func() { p.must(netlink.LinkSetUp(nowhere.link("peer"))) })
}

func named(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

// links lists "name type [addresses]", without IPv6, by name.
func (p *place) links() []string {
	p.t.Helper()
	var out []string
	p.run(func() {
		all, err := netlink.LinkList()
		p.must(err)
		for _, l := range all {
			has, err := netlink.AddrList(l, netlink.FAMILY_V4)
			p.must(err)
			line := l.Attrs().Name + " " + l.Type()
			for _, a := range has {
				line += " " + a.IPNet.String()
			}
			out = append(out, line)
		}
	})
	slices.Sort(out)
	return out
}

// tool runs a program in the namespace.
func (p *place) tool(name string, args ...string) string {
	p.t.Helper()
	path := testreq.Tool(p.t, name)
	var out []byte
	var err error
	p.run(func() { out, err = exec.Command(path, args...).CombinedOutput() })
	if err != nil {
		p.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// listen serves TCP and answers each caller with the address that it came from.
func (p *place) listen(addr string) {
	p.t.Helper()
	p.run(func() {
		l, err := net.Listen("tcp4", addr)
		if err != nil {
			p.t.Error(err)
			return
		}
		p.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				io.WriteString(c, netip.MustParseAddrPort(c.RemoteAddr().String()).Addr().String())
				c.Close()
			}
		}()
	})
}

// call connects and gives the answer.
func (p *place) call(addr string, wait time.Duration) (answer string, err error) {
	p.t.Helper()
	p.run(func() {
		var c net.Conn
		if c, err = net.DialTimeout("tcp4", addr, wait); err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(wait))
		var b []byte
		b, err = io.ReadAll(c)
		answer = string(b)
	})
	return answer, err
}

func open(t testing.TB, p *place, o network.Options) *network.Host {
	t.Helper()
	o.NetNS = p.file
	if o.Tag == "" {
		o.Tag = t.Name()
	}
	h, err := network.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func attach(t testing.TB, h *network.Host, p *network.Plan, container string, c *place) {
	t.Helper()
	e, err := p.Endpoint(container)
	if err == nil {
		err = h.Attach(c.pid, e)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestPoolsCarryTraffic(t *testing.T) {
	host, server, client, lab := newHost(t), newContainer(t), newContainer(t), newContainer(t)
	before := host.links()
	plan := network.NewPlan(pools(t, twoPools), []network.Want{pool("server", "internal"), pool("client", "internal"), pool("lab", "lab")}, nil)
	h := open(t, host, network.Options{})
	if err := h.Setup(plan); err != nil {
		t.Fatal(err)
	}
	attach(t, h, plan, "server", server)
	attach(t, h, plan, "client", client)
	attach(t, h, plan, "lab", lab)

	if got := server.links(); !slices.Equal(got, []string{"eth0 veth 10.0.5.2/24", "lo device 127.0.0.1/8"}) {
		t.Errorf("server: %q", got)
	}
	server.run(func() {
		if mac := server.link("eth0").Attrs().HardwareAddr.String(); mac != "02:00:0a:00:05:02" {
			t.Errorf("mac %s", mac)
		}
	})
	server.listen("10.0.5.2:8080")
	lab.listen("10.0.6.2:8080")
	host.listen("10.0.6.1:8080")
	for _, c := range []struct {
		from *place
		to   string
		want string
	}{
		{client, "10.0.5.2:8080", "10.0.5.3"},
		{host, "10.0.5.2:8080", "10.0.5.1"},
		{lab, "10.0.6.1:8080", "10.0.6.2"},
		{client, "10.0.6.2:8080", "10.0.6.1"}, // masqueraded, as with Pantavisor
	} {
		if got, err := c.from.call(c.to, 3*time.Second); err != nil || got != c.want {
			t.Errorf("call %s: %q %v, want %s", c.to, got, err, c.want)
		}
	}

	// Attaching and setting up again changes nothing.
	had := host.links()
	attach(t, h, plan, "server", server)
	if err := h.Setup(plan); err != nil || !slices.Equal(host.links(), had) {
		t.Errorf("again: %v %q, had %q", err, host.links(), had)
	}
	for _, l := range had {
		if name, _, _ := strings.Cut(l, " "); len(name) > 15 {
			t.Errorf("long name %s", name)
		}
	}

	if err := h.Detach("client"); err != nil {
		t.Error(err)
	}
	if got := client.links(); !slices.Equal(got, []string{"lo device 127.0.0.1/8"}) {
		t.Errorf("client, detached: %q", got)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if got := host.links(); !slices.Equal(got, before) {
		t.Errorf("left behind: %q", got)
	}
	if got := server.links(); !slices.Equal(got, []string{"lo device 127.0.0.1/8"}) {
		t.Errorf("server, closed: %q", got)
	}
}

// forwarding switches it off, whatever the namespace has from the machine's, and
// returns what reads it.
func (p *place) forwarding() func() string {
	const file = "/proc/sys/net/ipv4/ip_forward"
	p.tool("sh", "-c", "echo 0 >"+file)
	return func() string { return strings.TrimSpace(p.tool("cat", file)) }
}

func TestNAT(t *testing.T) {
	host, inside, lab, outside := newHost(t), newContainer(t), newContainer(t), newContainer(t)
	host.add(&netlink.Veth{LinkAttrs: named("up0"), PeerName: "eth0", PeerNamespace: netlink.NsPid(outside.pid)}, "192.0.2.1/24")
	outside.run(func() {
		l := outside.link("eth0")
		a, _ := netlink.ParseAddr("192.0.2.2/24")
		outside.must(netlink.AddrAdd(l, a))
		outside.must(netlink.LinkSetUp(l))
	})
	outside.listen("192.0.2.2:80")
	forward := host.forwarding()
	plan := network.NewPlan(pools(t, twoPools), []network.Want{pool("inside", "internal"), pool("lab", "lab")}, nil)
	var log bytes.Buffer
	h := open(t, host, network.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err := h.Setup(plan); err != nil {
		t.Fatal(err)
	}
	attach(t, h, plan, "inside", inside)
	attach(t, h, plan, "lab", lab)
	if got, err := inside.call("192.0.2.2:80", 3*time.Second); err != nil || got != "192.0.2.1" {
		t.Errorf("with nat: %q %v", got, err)
	}
	if got, err := lab.call("192.0.2.2:80", 300*time.Millisecond); err == nil {
		t.Errorf("without nat: %q", got)
	}
	if !strings.Contains(log.String(), "setup NAT (nftables) for pool internal") || strings.Contains(log.String(), "pool lab") {
		t.Errorf("log: %s", log.String())
	}
	rules := host.tool("nft", "list", "ruleset")
	if strings.Count(rules, "masquerade") != 1 || !strings.Contains(rules, `ip saddr 10.0.5.0/24 oifname != "pvbr0" counter packets`) || !strings.Contains(rules, `comment "pool internal"`) {
		t.Errorf("rules:\n%s", rules)
	}

	// Killed and started again: the new one knows what the old one found.
	again := open(t, host, network.Options{})
	if err := again.Setup(plan); err != nil {
		t.Fatal(err)
	}
	attach(t, again, plan, "inside", inside)
	if got, err := inside.call("192.0.2.2:80", 3*time.Second); err != nil || got != "192.0.2.1" {
		t.Errorf("after a restart: %q %v", got, err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if rules := host.tool("nft", "list", "ruleset"); rules != "" {
		t.Errorf("left behind:\n%s", rules)
	}
	if got := host.links(); !slices.Equal(got, []string{"lo device 127.0.0.1/8", "up0 veth 192.0.2.1/24"}) {
		t.Errorf("left behind: %q", got)
	}
	if forward() != "0" {
		t.Errorf("forwarding stays on")
	}
}

// Two engines on one host: the first to leave does not switch the other's
// forwarding off, and the last one does.
func TestNATOfTwoEngines(t *testing.T) {
	host := newHost(t)
	forward := host.forwarding()
	a, b := open(t, host, network.Options{Tag: "a"}), open(t, host, network.Options{Tag: "b"})
	if err := a.Setup(network.NewPlan(pools(t, twoPools), nil, nil)); err != nil {
		t.Fatal(err)
	}
	if err := b.Setup(network.NewPlan(pools(t, lxcbr), nil, nil)); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil || forward() != "1" {
		t.Errorf("after the first: %v, forwarding %s", err, forward())
	}
	if err := b.Setup(network.NewPlan(pools(t, lxcbr), nil, nil)); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil || forward() != "0" {
		t.Errorf("after the second: %v, forwarding %s", err, forward())
	}
}

func TestForwardDropIsNamed(t *testing.T) {
	host := newHost(t)
	host.tool("nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
	var log bytes.Buffer
	h := open(t, host, network.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err := h.Setup(network.NewPlan(pools(t, twoPools), nil, nil)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "table filter chain FORWARD of nftables drops what is forwarded") {
		t.Errorf("log: %s", log.String())
	}
}

func TestReusedBridgeIsGivenBack(t *testing.T) {
	host, c := newHost(t), newContainer(t)
	host.add(&netlink.Bridge{LinkAttrs: named("pvbr0")}, "172.20.0.1/24")
	host.run(func() { host.must(netlink.LinkSetDown(host.link("pvbr0"))) })
	before := host.links()
	plan := network.NewPlan(pools(t, twoPools), []network.Want{pool("c", "internal")}, nil)
	h := open(t, host, network.Options{})
	if err := h.Setup(plan); err != nil {
		t.Fatal(err)
	}
	attach(t, h, plan, "c", c)
	host.listen("10.0.5.1:80")
	if _, err := c.call("10.0.5.1:80", 3*time.Second); err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if got := host.links(); !slices.Equal(got, before) {
		t.Errorf("got %q, want %q", got, before)
	}
	host.run(func() {
		if host.link("pvbr0").Attrs().Flags&net.FlagUp != 0 {
			t.Error("the bridge was down before")
		}
	})
}

func TestBridgeInUseStays(t *testing.T) {
	host := newHost(t)
	var log bytes.Buffer
	h := open(t, host, network.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err := h.Setup(network.NewPlan(pools(t, twoPools), nil, nil)); err != nil {
		t.Fatal(err)
	}
	host.device("theirs", "")
	host.run(func() { host.must(netlink.LinkSetMaster(host.link("theirs"), host.link("pvbr1"))) })
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if got := host.links(); !slices.Equal(got, []string{"lo device 127.0.0.1/8", "pvbr1 bridge 10.0.6.1/24", "theirs veth"}) {
		t.Errorf("got %q", got)
	}
	if !strings.Contains(log.String(), "bridge pvbr1 stays: it is in use by theirs") {
		t.Errorf("log: %s", log.String())
	}
}

// A pool that an update drops takes its bridge along; the others stay.
func TestSetupFollowsThePlan(t *testing.T) {
	host := newHost(t)
	h := open(t, host, network.Options{})
	for _, c := range []struct{ pools, want string }{
		{twoPools, "lo device 127.0.0.1/8, pvbr0 bridge 10.0.5.1/24, pvbr1 bridge 10.0.6.1/24"},
		{lxcbr, "lo device 127.0.0.1/8, lxcbr0 bridge 10.0.3.1/24"},
		{`{}`, "lo device 127.0.0.1/8"},
	} {
		if err := h.Setup(network.NewPlan(pools(t, c.pools), nil, nil)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(host.links(), ", "); got != c.want {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
	}
	if rules := host.tool("nft", "list", "ruleset"); rules != "" {
		t.Errorf("rules without a pool:\n%s", rules)
	}
}

func TestSetupRefusals(t *testing.T) {
	host, c := newHost(t), newContainer(t)
	host.device("pvbr0", "")
	host.device("lan", "10.0.6.99/16")
	h := open(t, host, network.Options{})
	more := append(pools(t, twoPools), pools(t, `{"mac": {"type": "macvlan", "parent": "eth7", "subnet": "10.9.0.0/24", "gateway": "10.9.0.1"}}`)...)
	host.run(func() {
		a, _ := netlink.ParseAddr("10.0.6.99/16")
		host.must(netlink.AddrDel(host.link("lan"), a))
		a, _ = netlink.ParseAddr("10.0.6.99/25")
		host.must(netlink.AddrAdd(host.link("lan"), a))
	})
	plan := network.NewPlan(more, []network.Want{pool("c", "lab")}, nil)
	err := h.Setup(plan)
	for _, want := range []string{
		`pool "internal": pvbr0 exists on this host and is a veth, not a bridge`,
		`pool "lab": its subnet 10.0.6.0/24 overlaps with 10.0.6.0/25 of this host's interface lan`,
		`pool "mac": its parent eth7 does not exist on this host`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	e, perr := plan.Endpoint("c")
	if perr != nil {
		t.Fatal(perr)
	}
	if err := h.Attach(c.pid, e); !errors.Is(err, network.ErrOverlap) {
		t.Errorf("attach to a pool that is not there: %v", err)
	}
	if got := host.links(); !slices.Equal(got, []string{"lan veth 10.0.6.99/25", "lo device 127.0.0.1/8", "pvbr0 veth"}) {
		t.Errorf("left behind: %q", got)
	}
}

func TestLXCModes(t *testing.T) {
	bridge := netip.MustParsePrefix("10.0.3.1/24")
	for _, c := range []struct {
		name  string
		lines []string
		want  string // the container's interfaces and default routes
	}{
		{"veth", []string{"0.type=veth", "0.link=lxcbr0", "0.flags=up", "0.ipv4.address=10.0.3.2/24", "0.ipv4.gateway=10.0.3.1", "0.hwaddr=02:00:00:00:00:07", "0.mtu=1400"},
			"eth0 veth 10.0.3.2/24, lo device 127.0.0.1/8; default via 10.0.3.1 dev eth0"},
		{"auto", []string{"0.type=veth", "0.link=lxcbr0", "0.flags=up", "0.name=net0", "0.ipv4.address=10.0.3.9/24", "0.ipv4.gateway=auto"},
			"lo device 127.0.0.1/8, net0 veth 10.0.3.9/24; default via 10.0.3.1 dev net0"},
		{"dev", []string{"0.type=veth", "0.link=lxcbr0", "0.flags=up", "0.ipv4.address=10.0.3.2/32", "0.ipv4.gateway=dev"},
			"eth0 veth 10.0.3.2/32, lo device 127.0.0.1/8; default dev eth0"},
		{"onlink", []string{"0.type=veth", "0.link=lxcbr0", "0.flags=up", "0.ipv4.address=10.7.3.2/32", "0.ipv4.gateway=10.0.3.1"},
			"eth0 veth 10.7.3.2/32, lo device 127.0.0.1/8; default via 10.0.3.1 dev eth0 onlink"},
		{"no link, not up", []string{"3.type=veth"}, "eth3 veth, lo device 127.0.0.1/8; "},
		{"two", []string{"0.type=veth", "0.link=lxcbr0", "1.type=macvlan", "1.link=lan", "1.ipv4.address=10.8.0.2/24", "1.flags=up"},
			"eth0 veth, eth1 macvlan 10.8.0.2/24, lo device 127.0.0.1/8; "},
		{"macvlan first", []string{"0.type=macvlan", "0.link=lan", "1.type=veth", "1.link=lxcbr0"},
			"eth0 macvlan, eth1 veth, lo device 127.0.0.1/8; "},
		{"phys", []string{"0.type=phys", "0.link=lan", "0.name=wan", "0.flags=up", "0.ipv4.address=10.8.0.5/24"},
			"lo device 127.0.0.1/8, wan veth 10.8.0.5/24; "},
		{"empty", []string{"0.type=empty"}, "lo device 127.0.0.1/8; "},
	} {
		t.Run(c.name, func(t *testing.T) {
			host, in := newHost(t), newContainer(t)
			host.device("lan", "")
			before := host.links()
			plan := network.NewPlan(nil, []network.Want{lxc(t, "c", c.lines...)}, nil)
			h := open(t, host, network.Options{DefaultBridge: "lxcbr0", DefaultBridgeAddress: bridge})
			if err := h.Setup(plan); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				attach(t, h, plan, "c", in)
				routes := strings.Join(strings.Fields(in.tool("ip", "-4", "route", "show", "default")), " ")
				routes = strings.TrimSuffix(routes, " scope link")
				if got := strings.Join(in.links(), ", ") + "; " + routes; got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
			}
			if err := h.Detach("c"); err != nil {
				t.Error(err)
			}
			if got := in.links(); !slices.Equal(got, []string{"lo device 127.0.0.1/8"}) {
				t.Errorf("left in the container: %q", got)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
			if got := host.links(); !slices.Equal(got, before) {
				t.Errorf("left behind: %q, want %q", got, before)
			}
		})
	}
}

func TestMacvlanPool(t *testing.T) {
	host, a, b := newHost(t), newContainer(t), newContainer(t)
	host.device("eth7", "")
	plan := network.NewPlan(pools(t, `{"lan": {"type": "macvlan", "parent": "eth7", "subnet": "10.9.0.0/24", "gateway": "10.9.0.1"}}`),
		[]network.Want{pool("a", "lan"), pool("b", "lan")}, nil)
	h := open(t, host, network.Options{})
	if err := h.Setup(plan); err != nil {
		t.Fatal(err)
	}
	attach(t, h, plan, "a", a)
	attach(t, h, plan, "b", b)
	attach(t, h, plan, "b", b)
	a.listen("10.9.0.2:80")
	if got, err := b.call("10.9.0.2:80", 3*time.Second); err != nil || got != "10.9.0.3" {
		t.Errorf("%q %v", got, err)
	}
	if err := h.Detach("b"); err != nil {
		t.Error(err)
	}
	if got := b.links(); !slices.Equal(got, []string{"lo device 127.0.0.1/8"}) {
		t.Errorf("detached: %q", got)
	}
}

func TestAttachRefuses(t *testing.T) {
	host, c := newHost(t), newContainer(t)
	h := open(t, host, network.Options{})
	plan := network.NewPlan(pools(t, twoPools), []network.Want{pool("c", "internal")}, nil)
	if err := h.Setup(plan); err != nil {
		t.Fatal(err)
	}
	e, _ := plan.Endpoint("c")

	other := open(t, c, network.Options{Tag: "in the container's namespace"})
	if err := other.Attach(c.pid, e); !errors.Is(err, network.ErrSharedNetNS) {
		t.Errorf("the host's namespace: %v", err)
	}
	if err := h.Attach(1<<22+1, e); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such process: %v", err)
	}
	c.device("eth0", "")
	if err := h.Attach(c.pid, e); err == nil || !strings.Contains(err.Error(), `attach container "c": interface 0: the container has another interface eth0 already, a veth`) {
		t.Errorf("taken name: %v", err)
	}
	for _, l := range []struct{ want, line string }{
		{"bridge nobr does not exist", "0.link=nobr"},
		{"lo is a device, not a bridge", "0.link=lo"},
	} {
		c2 := newContainer(t)
		p := network.NewPlan(nil, []network.Want{lxc(t, "x", "0.type=veth", l.line)}, nil)
		e, err := p.Endpoint("x")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Attach(c2.pid, e); err == nil || !strings.Contains(err.Error(), l.want) {
			t.Errorf("%v, want %s", err, l.want)
		}
		if got := c2.links(); !slices.Equal(got, []string{"lo device 127.0.0.1/8"}) {
			t.Errorf("left behind: %q", got)
		}
	}
	if err := h.Detach("nobody"); err != nil {
		t.Errorf("detach nobody: %v", err)
	}
	if err := h.Attach(os.Getpid(), network.Endpoint{Container: "h"}); err != nil {
		t.Errorf("mode host: %v", err)
	}
	h.Close()
	if err := h.Attach(c.pid, e); err == nil {
		t.Error("attached after Close")
	}
}

// A container that restarts has a new namespace; the old one need not be gone.
func TestAttachAfterRestart(t *testing.T) {
	host, first, second, client := newHost(t), newContainer(t), newContainer(t), newContainer(t)
	h := open(t, host, network.Options{})
	plan := network.NewPlan(pools(t, twoPools), []network.Want{pool("server", "internal"), pool("client", "internal")}, nil)
	if err := h.Setup(plan); err != nil {
		t.Fatal(err)
	}
	attach(t, h, plan, "client", client)
	for _, s := range []*place{first, second} {
		attach(t, h, plan, "server", s)
		s.listen("10.0.5.2:80")
		if got, err := client.call("10.0.5.2:80", 3*time.Second); err != nil || got != "10.0.5.3" {
			t.Errorf("%q %v", got, err)
		}
	}
	if got := first.links(); !slices.Equal(got, []string{"lo device 127.0.0.1/8"}) {
		t.Errorf("the old namespace: %q", got)
	}
}

// A round is what a start and a stop of a container cost the network.
func BenchmarkAttachDetach(b *testing.B) {
	host, c := newHost(b), newContainer(b)
	h := open(b, host, network.Options{})
	plan := network.NewPlan(pools(b, twoPools), []network.Want{pool("c", "internal")}, nil)
	if err := h.Setup(plan); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		attach(b, h, plan, "c", c)
		if err := h.Detach("c"); err != nil {
			b.Fatal(err)
		}
	}
}
