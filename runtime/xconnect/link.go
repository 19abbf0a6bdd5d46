package xconnect

import (
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Key tells links apart. One consumer may hold several links to one service
// name, each on its own target.
type Key struct {
	Consumer string
	Name     string
	Target   string
}

func (k Key) String() string { return k.Consumer + "/" + k.Name }

// Peer is one end of a link: a container and the pid of its init as the
// daemon's pid namespace sees it.
type Peer struct {
	Name string
	PID  int // 0: not running, or not known yet
}

// Host reports whether the peer is the runtime itself and not a container.
func (p Peer) Host() bool { return p.Name == pvctrl.HostName }

// Known reports whether the peer can be entered now.
func (p Peer) Known() bool { return p.Host() || p.PID > 0 }

// Link is a resolved entry of the graph.
type Link struct {
	Consumer  Peer
	Provider  Peer
	Name      string
	Type      string // picks the plugin
	Role      string // "any" when the requirement names none
	Interface string // what the requirement names, else the type's text
	Target    string // path in the consumer, never empty
	Socket    string // path in the provider
	UID       uint32 // valid if HasUID: the role's uid on a hosted bus
	HasUID    bool
}

// Key is what reconciliation knows the link by.
func (l Link) Key() Key { return Key{l.Consumer.Name, l.Name, l.Target} }

// Restricted reports whether the requirement names an interface of its own;
// the graph repeats the type's text when it does not.
func (l Link) Restricted() bool { return l.Interface != "" && l.Interface != l.Type }

// Resolve makes a link of a graph's entry. The path in the consumer is the
// target, else the interface, else /tmp/pvx_<consumer>_<name>.sock; pids that
// are not positive are not known.
func Resolve(g pvctrl.Link) Link {
	l := Link{
		Consumer:  Peer{g.Consumer, max(g.ConsumerPID, 0)},
		Provider:  Peer{g.Provider, max(g.ProviderPID, 0)},
		Name:      g.Name,
		Type:      g.Type,
		Role:      g.Role,
		Interface: g.Interface,
		Target:    g.Target,
		Socket:    g.Socket,
	}
	if l.Role == "" {
		l.Role = "any"
	}
	if l.Target == "" {
		l.Target = l.Interface
	}
	if l.Target == "" {
		l.Target = "/tmp/pvx_" + l.Consumer.Name + "_" + l.Name + ".sock"
	}
	if g.UID != nil {
		l.UID, l.HasUID = *g.UID, true
	}
	return l
}
