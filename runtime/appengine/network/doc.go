// Package network gives containers their network: addresses from the pools of
// device.json, and on Linux the bridges, veth pairs, routes and masquerading
// that carry them.
//
// It has two layers. The first is pure: [DecodePools], [DecodeConfig] and
// [LXCInterfaces] read what the state says, [Decide] turns it into what one
// container wants, and [NewPlan] answers for all containers of a state at once:
// an [Endpoint] each, or the reason why the container must not start. The same
// state gives the same addresses, whatever the order and the time of the starts.
// The second layer is [Host], which carries a plan out and takes back only what
// it made.
//
// The keys and their meaning are those of Pantavisor's IPAM (ipam.c,
// parser/parser_system1.c and docs/reference/pantavisor-ipam.md there) and, for
// containers that bring lxc.net.* lines of their own, of lxc.container.conf(5).
// Pools are IPv4, as there. Where Pantavisor
// stumbles, this package does not: it never gives the network or broadcast
// address, searches below the gateway too, keeps a static address free for its
// owner however late that one starts, and says which container stands in the
// way.
package network
