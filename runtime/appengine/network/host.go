package network

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
)

// Options says where and under which name a [Host] works.
type Options struct {
	// Tag tells this engine's things from those of another one on the same
	// machine: the path of its storage, for instance. The same tag after a
	// restart finds what was left behind.
	Tag string
	// NetNS is the network namespace to work in; nil is the process's own. It
	// may be closed once Open has returned.
	NetNS *os.File
	// DefaultBridge is made when a container with lxc.net.* lines names it as
	// its link and no pool has it: Pantavisor's PV_NET_BRDEV with PV_NET_BRADDRESS4
	// and PV_NET_BRMASK4. No name: none.
	DefaultBridge        string
	DefaultBridgeAddress netip.Prefix
	// Log is told what is made, and what could not be. nil is silence.
	Log *slog.Logger
}

// Host makes the host's side of plans. It may be used by several goroutines.
type Host struct {
	opts Options
	mark marker
	log  *slog.Logger

	mu       sync.Mutex // guards what follows
	ns       *netns
	nl       *netlink.Handle
	added    []hostAddr // to bridges that were there before
	raised   []string   // bridges that were there before and down
	failed   map[string]error
	natted   bool // our table is there
	attached map[string]*attachment
}

type hostAddr struct {
	link string
	addr netip.Prefix
}

// Open prepares a host. It changes nothing yet; it needs CAP_NET_ADMIN for what
// follows. Close it.
func Open(opts Options) (*Host, error) {
	h := &Host{
		opts: opts, mark: newMarker(opts.Tag),
		log:    cmp.Or(opts.Log, slog.New(slog.DiscardHandler)),
		failed: map[string]error{}, attached: map[string]*attachment{},
	}
	path := "/proc/thread-self/ns/net"
	if opts.NetNS != nil {
		path = fmt.Sprintf("/proc/self/fd/%d", opts.NetNS.Fd())
	}
	var err error
	if h.ns, err = openNetNS(path); err != nil {
		return nil, err
	}
	if h.nl, err = h.ns.handle(); err != nil {
		h.ns.close()
		return nil, err
	}
	return h, nil
}

// Setup makes the bridges of a plan's pools and their masquerading. It can be
// called again, with another plan too: what it needs no longer goes away unless
// somebody is still on it. An error for a pool is a *[Refusal]; the others are
// served. A host that cannot masquerade is only warned about, in the log: the
// containers of the pool reach each other anyway.
func (h *Host) Setup(p *Plan) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	var nat []Pool
	clear(h.failed)
	for _, pool := range p.pools {
		if err := h.setupPool(pool); err != nil {
			r := &Refusal{Pool: pool.Name, Err: err}
			h.failed[pool.Name] = r
			errs = append(errs, r)
			continue
		}
		if pool.NAT && pool.Type == Bridge {
			nat = append(nat, pool)
		}
	}
	if err := h.removeBridges(func(name string) bool {
		return name == h.opts.DefaultBridge || slices.ContainsFunc(p.pools, func(p Pool) bool { return p.on(name) })
	}); err != nil {
		errs = append(errs, err)
	}
	if err := h.masquerade(nat); err != nil {
		h.log.Warn("cannot set up NAT: the pools work without", "pools", poolNames(nat), "error", err)
	} else {
		for _, pool := range nat {
			h.log.Info("setup NAT (nftables) for pool " + pool.Name)
		}
	}
	return errors.Join(errs...)
}

func poolNames(pools []Pool) string {
	var names []string
	for _, p := range pools {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// Close takes back everything that this host, or an earlier one with the same
// tag, made: attached interfaces, bridges, addresses on bridges of others, the
// table of nftables, and forwarding if it was off before. A bridge on which
// somebody else has an interface stays, and is logged.
func (h *Host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ns == nil {
		return nil
	}
	var errs []error
	for container := range h.attached {
		errs = append(errs, h.detach(container))
	}
	errs = append(errs, h.removeEnds(), h.removeBridges(func(string) bool { return false }), h.restoreBridges(), h.unmasquerade())
	h.nl.Close()
	errs = append(errs, h.ns.close())
	h.ns = nil
	return errors.Join(errs...)
}

var errClosed = errors.New("the network is closed")
