package appengine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/pvkit/pvkit/runtime/appengine/daemons"
	"github.com/pvkit/pvkit/runtime/appengine/logs"
	"github.com/pvkit/pvkit/runtime/appengine/network"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
	"github.com/pvkit/pvkit/runtime/appengine/settings"
	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// meshName is the daemon that links containers.
const meshName = "pv-xconnect"

// FindXConnect finds the program for Options.XConnect: the one asked for, for ""
// the one beside the program that self names, or the first in the directories of
// the search path, and none for "none" and where there is none.
func FindXConnect(asked string, self func() (string, error), searchPath string) ([]string, error) {
	switch asked {
	case "none":
		return nil, nil
	case "":
	default:
		if _, err := os.Stat(asked); err != nil {
			return nil, err
		}
		return []string{asked}, nil
	}
	dirs := filepath.SplitList(searchPath)
	if program, err := self(); err == nil {
		dirs = slices.Insert(dirs, 0, filepath.Dir(program))
	}
	for _, dir := range dirs {
		name := filepath.Join(dir, meshName)
		if st, err := os.Stat(name); err == nil && filepath.IsAbs(name) && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return []string{name}, nil
		}
	}
	return nil, nil
}

// startDaemons runs the runtime's own programs. What they print goes into the
// log as it would on a device.
func (c *cycle) startDaemons(ctx context.Context) error {
	table := []daemons.Daemon{daemons.Hwrngd()}
	if args := c.opts.XConnect; len(args) > 0 {
		table = append(table, daemons.Daemon{
			Name: meshName, Path: args[0], Args: append(args[1:len(args):len(args)], "--socket", c.run.path(ctrlSocket)),
		})
	} else {
		table = append(table, daemons.Daemon{Name: meshName}) // shown as not installed
		c.note("there is no pv-xconnect: containers are not linked")
	}
	c.daemons = daemons.New(table, daemons.Options{
		Log:     c.logger("daemons"),
		Changed: func(d pvctrl.Daemon) { c.sup.stream(pvctrl.EventDaemon, d) },
		Output: func(name string) (stdout, stderr io.Writer) {
			return c.logs.Source(logs.Pantavisor, name+"-out", logs.Info), c.logs.Source(logs.Pantavisor, name+"-err", logs.Warn)
		},
	})
	c.background(ctx, c.daemons.Run)
	return nil
}

// note tells what this machine cannot do, in the log and to who watches.
func (c *cycle) note(text string) { c.noteAs("pantavisor", text) }

// noteAs is note under the name of one of the runtime's parts.
func (c *cycle) noteAs(source, text string) {
	c.source(source).Log(logs.Warn, text)
	c.events.send(Event{Kind: EventNote, Text: text})
}

// connect makes the network that a revision wants, and its device's volumes. A
// machine that cannot make one runs the containers that need none; the others
// say why not.
func (c *cycle) connect(ctx context.Context, r *revision) error {
	for _, text := range r.network.Notes() {
		c.source("ipam").Log(logs.Info, text)
	}
	for _, text := range r.network.Warnings() {
		c.source("ipam").Log(logs.Warn, text)
	}
	opts := network.Options{Tag: c.store.Dir(), NetNS: c.opts.NetNS, Log: c.logger("ipam")}
	if name := c.settings.Text(settings.NetBrdev); name != "" {
		opts.DefaultBridge = name
		opts.DefaultBridgeAddress, _ = bridgeAddress(c.settings.Text(settings.NetBraddress4), c.settings.Text(settings.NetBrmask4))
	}
	if c.net, c.noNet = network.Open(opts); c.noNet != nil {
		c.net = nil
		c.noNet = fmt.Errorf("this machine cannot give a network: %w", c.noNet)
	} else {
		c.stop(func() {
			if err := c.net.Close(); err != nil {
				c.log.Error("the network is not all taken away", "error", err)
			}
		})
		if err := c.net.Setup(r.network); err != nil {
			c.note(err.Error())
		}
	}
	return c.share(ctx, r)
}

// bridgeAddress reads PV_NET_BRADDRESS4 and PV_NET_BRMASK4.
func bridgeAddress(addr, mask string) (netip.Prefix, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}, err
	}
	m, err := netip.ParseAddr(mask)
	if err != nil || !m.Is4() {
		return netip.Prefix{}, errors.Join(fmt.Errorf("%q is no mask", mask), err)
	}
	bits := 0
	for _, b := range m.As4() {
		for ; b&0x80 != 0; b <<= 1 {
			bits++
		}
	}
	return netip.PrefixFrom(a, bits), nil
}

// pools are the networks of device.json.
func pools(sys *system.System) []network.Pool {
	var all []network.Pool
	for _, p := range sys.Pools {
		n := network.Pool{Name: p.Name, Bridge: p.Device, Subnet: p.Subnet, Gateway: p.Gateway, NAT: p.NAT}
		if p.Macvlan {
			n.Type, n.Bridge, n.Parent = network.Macvlan, "", p.Device
		}
		all = append(all, n)
	}
	return all
}

// want is what a container asks of the network.
func want(d *definition) network.Want {
	var own *network.Config
	if n := d.Network; n != nil {
		own = &network.Config{Mode: string(n.Mode), Pool: n.Pool, Hostname: n.Hostname, MAC: n.MAC, IP: n.IP}
	}
	return network.Decide(d.Name, own, d.net, !d.config.Own(lxcconf.Net))
}
