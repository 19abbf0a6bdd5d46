package network

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// Pantavisor sets the host name of a container of a pool and leaves it to
// chance whether the others can resolve it. Here each gets an /etc/hosts that
// names the members of its pool, so the examples that call their server by its
// host name work without a name server.

// member is a container with an address in a pool.
type member struct {
	container, hostname string
	ip                  netip.Addr
}

// members lists a pool's, in the order of their starts, those of lxc.net.* on
// the pool's bridge among them.
func (p *Plan) members(pool Pool) []member {
	var list []member
	for _, c := range p.order {
		e, ok := p.end[c]
		if !ok {
			continue
		}
		for _, i := range e.Interfaces {
			for _, a := range i.Addresses {
				if pool.Subnet.Contains(a.Addr()) && (i.Pool == pool.Name || i.Pool == "" && i.Kind == KindVeth && pool.on(i.Link)) {
					list = append(list, member{c, e.Hostname, a.Addr()})
				}
			}
		}
	}
	return list
}

// names gives each member the names that are its own: host names go first, to
// the first who has them, then the names of containers that are still free.
func names(list []member) [][]string {
	taken := map[string]bool{"localhost": true}
	out := make([][]string, len(list))
	for i, m := range list {
		if key := strings.ToLower(m.hostname); hostname.MatchString(m.hostname) && !taken[key] {
			taken[key] = true
			out[i] = append(out[i], m.hostname)
		}
	}
	for i, m := range list {
		if key := strings.ToLower(m.container); hostname.MatchString(m.container) && !taken[key] {
			taken[key] = true
			out[i] = append(out[i], m.container)
		}
	}
	return out
}

// Hosts is the content of a container's /etc/hosts (hosts(5)): the loopback
// names and the members of its pool under their host names and container names.
// It is nil where the container has no address from a pool: what its image or
// the host brings then stays.
func (p *Plan) Hosts(container string) []byte {
	e := p.end[container]
	if e.Mode != ModePool {
		return nil
	}
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	for _, pool := range p.pools {
		if pool.Name != e.Interfaces[0].Pool {
			continue
		}
		list := p.members(pool)
		own := names(list)
		for i, m := range list {
			if len(own[i]) > 0 {
				fmt.Fprintf(&b, "%s\t%s\n", m.ip, strings.Join(own[i], " "))
			}
		}
	}
	return b.Bytes()
}

// checkHostnames warns where two members of a pool want one name.
func (b *builder) checkHostnames() {
	for _, pool := range b.pools {
		first := map[string]string{}
		for _, m := range b.members(pool) {
			key := strings.ToLower(m.hostname)
			if other := first[key]; other != "" && other != m.container {
				b.warnings = append(b.warnings, fmt.Sprintf("pool %q: containers %q and %q both have the host name %q, which leads to %q", pool.Name, other, m.container, m.hostname, other))
			} else {
				first[key] = m.container
			}
		}
	}
}
