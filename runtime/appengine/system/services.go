package system

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// requirements reads the services object of run.json.
func requirements(n node) []Requirement {
	if n.null() {
		return nil
	}
	o, ok := n.object()
	if !ok {
		n.errorf("services", `write {"required": [{"name": "…"}]}`, "is %s", n.show())
		return nil
	}
	o.unknown("services", "required", "optional")
	return append(requirementList(o.get("required"), true), requirementList(o.get("optional"), false)...)
}

func requirementList(n node, required bool) []Requirement {
	if n.null() {
		return nil
	}
	// The device ignores what it cannot read, but takes a requirement
	// without a name for one that nobody meets.
	severity := diag.Warning
	if required {
		severity = diag.Error
	}
	elems, ok := n.array()
	if !ok {
		n.warnf("services", `write an array of objects, for example [{"name": "…"}]`, "is %s; it is ignored", n.show())
		return nil
	}
	var out []Requirement
	for _, e := range elems {
		o, ok := e.object()
		if !ok {
			hint := `write an object, for example {"name": "…"}`
			if s, isString := e.str(); isString {
				hint = fmt.Sprintf(`write {"name": %q}`, s)
			}
			e.report(severity, "services", hint, "is %s; a requirement is an object, and nothing can meet this one", e.show())
			continue
		}
		r := Requirement{
			Name: o.text("name"), Required: required, Type: o.text("type"), Role: o.text("role"),
			Interface: o.text("interface"), Target: o.text("target"),
		}
		if r.Name == "" {
			e.report(severity, "services", `write a "name"`, "has no name, so nothing can meet it")
			continue
		}
		out = append(out, r)
	}
	return out
}

// exports reads a services.json: an object with "services", or the array
// alone. What cannot be read exports nothing.
func exports(n node) []Export {
	list := n
	if o, ok := n.object(); ok {
		list = o.get("services")
	}
	elems, ok := list.array()
	if !ok {
		list.warnf("services-json", `write {"services": [{"name": "…", "type": "…", "socket": "…"}]}`, "is %s; nothing is exported", list.show())
		return nil
	}
	var out []Export
	for _, e := range elems {
		o, ok := e.object()
		if !ok {
			e.warnf("services-json", `write an object with "name", "type" and "socket"`, "is %s; it is ignored", e.show())
			continue
		}
		if !o.get("owns").null() {
			continue // a name on the hosted bus, which is not an export
		}
		x := Export{Name: lenient(o, "name"), Type: lenient(o, "type"), Socket: lenient(o, "socket")}
		if x.Name == "" {
			e.warnf("services-json", `write a "name"`, "has no name, so nobody can require it")
			continue
		}
		if !slices.Contains(ServiceTypes(), x.Type) {
			e.warnf("services-json", "the types are "+strings.Join(ServiceTypes(), ", "),
				"the service %q has the unknown type %q; nothing can carry it", x.Name, x.Type)
			x.Type = TypeUnknown
		}
		out = append(out, x)
	}
	return out
}

// lenient is text for a file whose mistakes never make a state invalid.
func lenient(o object, key string) string {
	n := o.get(key)
	if n.null() {
		return ""
	}
	s, ok := n.str()
	if !ok {
		n.warnf("services-json", "write a string", "is %s; it is ignored", n.show())
	}
	return s
}

// Graph returns the links of the system: for every container, for every
// requirement of it, for every container, every export of that name
// (pv_state_get_xconnect_graph_json in state.c). What a container requires and
// exports links it to itself. pid gives the pid of a container's init as the
// API shows it.
func (s *System) Graph(pid func(container string) int) []pvctrl.Link {
	links := []pvctrl.Link{}
	for _, consumer := range s.Containers {
		for _, r := range consumer.Requires {
			for _, provider := range s.Containers {
				for _, x := range provider.Exports {
					if x.Name != r.Name {
						continue
					}
					links = append(links, pvctrl.Link{
						Consumer: consumer.Name, ConsumerPID: pid(consumer.Name),
						Provider: provider.Name, ProviderPID: pid(provider.Name),
						Name: r.Name, Type: x.Type,
						Role: cmp.Or(r.Role, "any"), Interface: cmp.Or(r.Interface, x.Type),
						Target: r.Target, Socket: x.Socket,
					})
				}
			}
		}
	}
	return links
}

// Missing is a required service that no container exports.
type Missing struct {
	Consumer string   // the container that requires it
	Service  string   // what it requires
	Near     []Offer  // exports whose names are close
	Offers   []string // the names of all exports, sorted
}

// Offer is an export and who makes it.
type Offer struct{ Service, Provider string }

// Error says what is missing, who wants it, and what would be right.
func (m Missing) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "container %q requires the service %q, and no container exports it", m.Consumer, m.Service)
	switch {
	case len(m.Near) > 0:
		for i, o := range m.Near {
			sep := ", "
			if i == 0 {
				sep = ": did you mean "
			}
			fmt.Fprintf(&b, "%s%q of %q", sep, o.Service, o.Provider)
		}
		b.WriteByte('?')
	case len(m.Offers) > 0:
		fmt.Fprintf(&b, ": the exports are %s", strings.Join(m.Offers, ", "))
	default:
		b.WriteString(": nothing is exported at all; add the container that has it in its services.json")
	}
	return b.String()
}

// MissingServices returns the required services that nobody exports, in the
// order of the containers. A system that has any cannot run.
func (s *System) MissingServices() []Missing {
	var offers []Offer
	names := map[string]bool{}
	for _, c := range s.Containers {
		for _, x := range c.Exports {
			offers = append(offers, Offer{x.Name, c.Name})
			names[x.Name] = true
		}
	}
	var missing []Missing
	for _, c := range s.Containers {
		for _, r := range c.Requires {
			if r.Required && !names[r.Name] {
				missing = append(missing, missingService(c.Name, r.Name, offers))
			}
		}
	}
	return missing
}

func missingService(consumer, service string, offers []Offer) Missing {
	m := Missing{Consumer: consumer, Service: service}
	for _, o := range offers {
		m.Offers = append(m.Offers, o.Service)
		// People mix up cases, and service and container names.
		if strings.EqualFold(o.Service, service) || o.Provider == service || diag.Nearest(service, []string{o.Service}) != "" {
			m.Near = append(m.Near, o)
		}
	}
	slices.Sort(m.Offers)
	m.Offers = slices.Compact(m.Offers)
	return m
}
