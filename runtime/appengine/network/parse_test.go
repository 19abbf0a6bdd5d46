package network_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/network"
)

func TestDecodePoolsRefuses(t *testing.T) {
	for _, c := range []struct{ entry, want string }{
		{`{"subnet": "10.0.5.0/24", "gateway": "10.0.5.1"}`, "it has no bridge"},
		{`{"type": "ipvlan"}`, `its type is "ipvlan": want bridge or macvlan`},
		{`{"type": "macvlan", "bridge": "b"}`, "it has no parent"},
		{`{"bridge": "much-too-long-a-name"}`, "cannot be the name of a network interface"},
		{`{"bridge": "a/b"}`, "cannot be the name of a network interface"},
		{`{"bridge": ".."}`, "cannot be the name of a network interface"},
		{`{"bridge": "b", "subnet": "10.0.5.0", "gateway": "10.0.5.1"}`, `its subnet is "10.0.5.0"`},
		{`{"bridge": "b", "subnet": "fd00::/64", "gateway": "fd00::1"}`, "want an IPv4 network"},
		{`{"bridge": "b", "subnet": "10.0.5.0/32", "gateway": "10.0.5.0"}`, "no room"},
		{`{"bridge": "b", "subnet": "0.0.0.0/0", "gateway": "10.0.5.0"}`, "no room"},
		{`{"bridge": "b", "subnet": "10.0.5.0/24"}`, `its gateway is ""`},
		{`{"bridge": "b", "subnet": "10.0.5.0/24", "gateway": "10.0.6.1"}`, "its gateway 10.0.6.1 is not usable: want one from 10.0.5.1 to 10.0.5.254"},
		{`{"bridge": "b", "subnet": "10.0.5.0/24", "gateway": "10.0.5.0"}`, "is not usable"},
		{`{"bridge": "b", "subnet": "10.0.5.0/24", "gateway": "10.0.5.255"}`, "is not usable"},
		{`{"bridge": "b", "nat": "yes"}`, "read its entry"},
		{`7`, "read its entry"},
	} {
		got, err := network.DecodePools([]byte(`{"good": {"bridge": "g", "subnet": "10.1.0.7/16", "gateway": "10.1.0.1"}, "bad": ` + c.entry + `}`))
		if len(got) != 1 || got[0].Name != "good" || got[0].Subnet.String() != "10.1.0.0/16" {
			t.Errorf("%s: the good pool is %v", c.entry, got)
		}
		r, ok := network.IsRefusal(err)
		if !ok || r.Pool != "bad" || !errors.Is(err, network.ErrBadPool) || !strings.Contains(err.Error(), `pool "bad": `) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.entry, err, c.want)
		}
	}
	if _, err := network.DecodePools([]byte(`[]`)); err == nil {
		t.Error("a list of pools is read")
	}
}

func TestDecide(t *testing.T) {
	veth := []network.LXCInterface{{Type: "veth", Link: "lxcbr0", Name: "eth0"}}
	for _, c := range []struct {
		name  string
		doc   string // network of run.json
		lxc   []network.LXCInterface
		keeps bool
		mode  network.Mode
		err   string
	}{
		{"the template's default", "", nil, true, network.ModeHost, ""},
		{"no net kept", "", nil, false, network.ModeNone, ""},
		{"veth", "", veth, false, network.ModeLXC, ""},
		{"none shares", "", []network.LXCInterface{{Type: "none"}}, false, network.ModeHost, ""},
		{"empty", "", []network.LXCInterface{{Type: "empty"}}, false, network.ModeNone, ""},
		{"kept net and lxc.net", "", veth, true, network.ModeLXC, "remove net from lxc.namespace.keep"},
		{"a pool takes the kept net away", `{"pool": "p"}`, nil, true, network.ModePool, ""},
		{"a pool wins over the mode", `{"mode": "host", "pool": "p"}`, nil, true, network.ModePool, ""},
		{"host", `{"mode": "host"}`, nil, false, network.ModeHost, ""},
		{"mode none leaves it to LXC", `{"mode": "none"}`, veth, false, network.ModeLXC, ""},
		{"unknown mode and key", `{"mode": "x", "interfaces": []}`, nil, true, network.ModeHost, ""},
		{"pool and lxc.net", `{"pool": "p"}`, veth, false, network.ModePool, "exclude each other"},
		{"mode pool without a pool", `{"mode": "pool"}`, nil, false, network.ModePool, "has the mode pool and no pool"},
		{"ip", `{"pool": "p", "ip": "10.0.5"}`, nil, false, network.ModePool, `ip "10.0.5": want an IPv4 address`},
		{"ipv6", `{"pool": "p", "ip": "fe80::1"}`, nil, false, network.ModePool, "pools are IPv4"},
		{"mac", `{"pool": "p", "mac": "1:2"}`, nil, false, network.ModePool, "want six bytes"},
		{"multicast mac", `{"pool": "p", "mac": "01:00:00:00:00:01"}`, nil, false, network.ModePool, "multicast"},
		{"zero mac", `{"pool": "p", "mac": "00:00:00:00:00:00"}`, nil, false, network.ModePool, "no address"},
		{"a hostname that would write /etc/hosts", `{"pool": "p", "hostname": "a\n8.8.8.8 b"}`, nil, false, network.ModePool, "hostname"},
		{"long hostname", `{"pool": "p", "hostname": "` + strings.Repeat("a", 65) + `"}`, nil, false, network.ModePool, "at most 64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cfg *network.Config
			if c.doc != "" {
				read, err := network.DecodeConfig([]byte(c.doc))
				if err != nil {
					t.Fatal(err)
				}
				cfg = &read
			}
			w := network.Decide("c", cfg, c.lxc, c.keeps)
			if w.Mode != c.mode || (w.Err == nil) != (c.err == "") || w.Err != nil && !strings.Contains(w.Err.Error(), c.err) {
				t.Errorf("got %s %v, want %s %s", w.Mode, w.Err, c.mode, c.err)
			}
			if c.err == "" {
				return
			}
			if _, err := network.NewPlan(nil, []network.Want{w}, nil).Endpoint("c"); !errors.Is(err, w.Err) {
				t.Errorf("the plan says %v", err)
			}
		})
	}
}

func TestLXCInterfaces(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string // of the first interface, or the error
	}{
		{[]string{"0.type=veth", "0.ipv4.address=10.0.3.2"}, "eth0 [10.0.3.2/8]"}, // the prefix length of its class
		{[]string{"0.type=veth", "0.ipv4.address=172.16.3.2"}, "eth0 [172.16.3.2/16]"},
		{[]string{"0.type=veth", "0.ipv4.address=192.168.3.2"}, "eth0 [192.168.3.2/24]"},
		{[]string{"0.type=veth", "0.ipv4.address=10.0.3.2/24 10.0.3.255", "0.ipv6.address=fd00::2/64"}, "eth0 [10.0.3.2/24 fd00::2/64]"},
		{[]string{"0.type=veth", "0.ipv4.address=10.0.3.2/24", "0.ipv6.address=fd00::2", "0.ipv4.address="}, "eth0 [fd00::2/64]"},
		{[]string{"1.type=veth", "0.type=veth", "0.name=a", "0.="}, "eth1 []"},
		{[]string{"0.type=bridge"}, "lxc.net.0.type = bridge: want veth, macvlan, phys, empty or none"},
		{[]string{"0.link=br0"}, "lxc.net.0 has no type"},
		{[]string{"0.type=phys"}, "lxc.net.0.type = phys needs lxc.net.0.link"},
		{[]string{"0.type=veth", "0.link=a b"}, "cannot be the name of a network interface"},
		{[]string{"0.type=veth", "0.name=sixteen-letters-"}, "cannot be the name of a network interface"},
		{[]string{"0.type=veth", "0.flags=down"}, "the only flag is up"},
		{[]string{"0.type=veth", "0.mtu=67"}, "from 68 to 65535"},
		{[]string{"0.type=veth", "0.hwaddr=zz"}, "want six bytes"},
		{[]string{"0.type=veth", "0.ipv4.address=dhcp"}, "want an address such as 10.0.3.2/24"},
		{[]string{"0.type=veth", "0.ipv4.address=fd00::1/64"}, "this is not an ipv4 address"},
		{[]string{"0.type=veth", "0.ipv4.address=224.0.0.1/24"}, "no interface can have this address"},
		{[]string{"0.type=veth", "0.ipv4.gateway=x"}, "want an ipv4 address, auto or dev"},
		{[]string{"0.type=veth", "0.ipv4.gateway=10.0.3.1"}, "lxc.net.0 has a gateway and no flags = up"},
		{[]string{"64.type=veth"}, "want lxc.net.N with N from 0 to 63"},
		{[]string{"x.type=veth"}, "want lxc.net.N with N from 0 to 63"},
	} {
		list, _, err := network.LXCInterfaces(pairs(c.lines...))
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = list[0].Name + " " + sprint(list[0].Addresses)
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%q: got %s, want %s", c.lines, got, c.want)
		}
	}
	_, warnings, err := network.LXCInterfaces(pairs("0.type=veth", "0.veth.pair=vethx", "0.hwaddr=00:16:3e:xx:xx:xx", "0.script.up=/x"))
	if err != nil || strings.Join(warnings, ", ") != "lxc.net.0.veth.pair has no effect here, lxc.net.0.hwaddr has no effect here, lxc.net.0.script.up has no effect here" {
		t.Errorf("%v %q", err, warnings)
	}
	// A line without the number is one that clears; other keys are not ours.
	list, _, err := network.LXCInterfaces(func(yield func(string, string) bool) {
		_ = yield("lxc.net.0.type", "veth") && yield("lxc.net", "") && yield("lxc.network.type", "x") && yield("lxc.uts.name", "y")
	})
	if err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}
