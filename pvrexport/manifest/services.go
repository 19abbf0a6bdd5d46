package manifest

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// Service is one entry of services.json: a socket or device that a container
// offers to others (Name, Type, Socket), or the claim of a name on the device's
// own message bus (Type dbus, Bus, Owns, Role, Allow); pantavisor
// docs/reference/pantavisor-xconnect.md.
type Service struct {
	Name, Type, Socket string
	Bus, Owns, Role    string
	Allow              []string
}

// serviceTypes are what the device has a name for (parser_system1.c, service_str_to_type).
var serviceTypes = []string{"rest", "dbus", "unix", "drm", "wayland", "input"}

// servicesSpec is the form of services.json that is written.
const servicesSpec = "service-manifest-xconnect@1"

// serviceKeys are the keys that the device looks up in or around a requirement
// or an offer.
var serviceKeys = []string{"name", "type", "role", "interface", "target", "required", "optional", "services", "socket", "bus", "owns", "allow"}

// requirement is one element of PV_SERVICES_REQUIRED or _OPTIONAL.
type requirement struct{ name, kind, role, iface, target string }

func (q requirement) object() object {
	o := object{{"name", q.name}}
	o.addText("type", q.kind)
	o.addText("role", q.role)
	o.addText("interface", q.iface)
	o.addText("target", q.target)
	return o
}

// readRequirements reads a list of objects, or the names as one text. In
// run.json the device accepts only the former: a text there would be no
// requirement at all, and a list of texts one that nothing can fulfil.
func (c *checker) readRequirements(arg, at string, v any, wrong func(string) (any, bool)) (any, bool) {
	var out []requirement
	switch v := v.(type) {
	case string:
		if v == "" {
			return nil, true
		}
		words, ok := c.splitWords(arg, at, v)
		if !ok {
			return nil, false
		}
		for _, w := range words.([]string) {
			c.serviceWord(at, arg+": the name", w)
			out = append(out, requirement{name: w})
		}
	case []any:
		for i, e := range v {
			q, ok := c.requirement(arg, fmt.Sprintf("%s.%d", at, i), i, e)
			if !ok {
				return nil, false
			}
			out = append(out, q)
		}
	default:
		return wrong("")
	}
	seen := map[[2]string]bool{}
	for _, q := range out {
		key := [2]string{q.name, q.target}
		if seen[key] {
			c.warn(at, "%s: %q stands there twice", arg, shorten(q.name))
		}
		seen[key] = true
	}
	if len(out) == 0 {
		return nil, true
	}
	return out, true
}

func (c *checker) requirement(arg, at string, i int, e any) (requirement, bool) {
	var q requirement
	m, isObject := e.(map[string]any)
	if !isObject {
		hint := ""
		if s, isText := e.(string); isText {
			hint = fmt.Sprintf(`write {"name": %q}`, s)
		}
		c.report(ruleType, diag.Error, at, fmt.Sprintf("%s: element %d is %s, want an object with a name", arg, i+1, describe(e)), hint)
		return q, false
	}
	fields := map[string]*string{"name": &q.name, "type": &q.kind, "role": &q.role, "interface": &q.iface, "target": &q.target}
	for _, key := range sortedKeys(m) {
		field, known := fields[key]
		if !known {
			c.report(ruleUnknown, diag.Error, at, fmt.Sprintf("%s: element %d: %q is not a key of a service requirement", arg, i+1, shorten(key)), nearest(key, sortedKeys(fields)))
			continue
		}
		s, isText := m[key].(string)
		if !isText {
			c.report(ruleType, diag.Error, at, fmt.Sprintf("%s: element %d: %s is %s, want a text", arg, i+1, key, describe(m[key])), "")
			continue
		}
		c.serviceWord(at, fmt.Sprintf("%s: element %d: the %s", arg, i+1, key), s)
		*field = s
	}
	if q.name == "" {
		c.report(ruleValue, diag.Error, at, fmt.Sprintf("%s: element %d has no name", arg, i+1), "a device refuses the whole revision for a required service without a name")
		return q, false
	}
	c.serviceType(at, q.kind)
	if q.target != "" {
		c.absolute(at, fmt.Sprintf("%s: element %d: the target", arg, i+1), q.target)
	}
	return q, true
}

// serviceWord checks any text of a service entry.
func (c *checker) serviceWord(at, what, s string) {
	if c.word(at, what, s) {
		c.notKey(at, what, s, serviceKeys...)
	}
}

func (c *checker) serviceType(at, kind string) {
	if kind != "" && !slices.Contains(serviceTypes, kind) {
		c.report(ruleValue, diag.Warning, at,
			fmt.Sprintf("service type %q is not one that devices connect: %s", shorten(kind), strings.Join(serviceTypes, ", ")), nearest(kind, serviceTypes))
	}
}

// absolute checks a path inside a container.
func (c *checker) absolute(at, what, p string) {
	if !strings.HasPrefix(p, "/") || p == "/" || path.Clean(p) != p {
		c.bad(at, "%s %q is not a clean absolute path", what, shorten(p))
	}
}

// requirements makes run.json's "services", nil when there are none.
func (r *renderer) requirements() object {
	var o object
	for _, part := range []struct{ key, arg string }{{"required", "PV_SERVICES_REQUIRED"}, {"optional", "PV_SERVICES_OPTIONAL"}} {
		var list []object
		for _, q := range r.args.needs(part.arg) {
			list = append(list, q.object())
		}
		if list != nil {
			o.add(part.key, list)
		}
	}
	return o
}

// servicesJSON renders services.json, nil when the container offers nothing.
func (r *renderer) servicesJSON() object {
	if len(r.src.Services) == 0 {
		return nil
	}
	list, seen := make([]object, len(r.src.Services)), map[string]bool{}
	for i, s := range r.src.Services {
		at := fmt.Sprintf("services.%d", i)
		r.checkService(at, s)
		if s.Name != "" && seen[s.Name] {
			r.conflict(at, "service %q is offered twice", shorten(s.Name))
		}
		seen[s.Name] = true
		if s.Owns != "" {
			list[i] = object{{"type", s.Type}, {"bus", s.Bus}, {"owns", s.Owns}}
			list[i].addText("role", s.Role)
			if len(s.Allow) > 0 {
				list[i].add("allow", s.Allow)
			}
			continue
		}
		list[i] = object{{"name", s.Name}, {"type", s.Type}, {"socket", s.Socket}}
	}
	return object{{"#spec", servicesSpec}, {"services", list}}
}

func (r *renderer) checkService(at string, s Service) {
	for _, part := range []struct{ what, text string }{
		{"name", s.Name}, {"type", s.Type}, {"socket", s.Socket}, {"bus", s.Bus}, {"name owned", s.Owns}, {"role", s.Role},
	} {
		r.serviceWord(at, "service: the "+part.what, part.text)
	}
	for _, a := range s.Allow {
		r.serviceWord(at, "service: the role allowed", a)
	}
	r.serviceType(at, s.Type)
	if s.Type == "" {
		r.bad(at, "service %q has no type", s.Name)
	}
	if s.Owns != "" {
		if s.Type != "dbus" || s.Bus == "" || s.Name != "" || s.Socket != "" {
			r.bad(at, "service that owns %q: want type dbus and a bus, and neither name nor socket", shorten(s.Owns))
		}
		return
	}
	if s.Name == "" {
		r.bad(at, "a service has no name, so nothing can ask for it")
	}
	if s.Bus != "" || s.Role != "" || len(s.Allow) > 0 {
		r.bad(at, "service %q: bus, role and allow belong to a service with \"owns\"", s.Name)
	}
	r.absolute(at, fmt.Sprintf("service %q: the socket", s.Name), s.Socket)
	if (s.Type == "drm" || s.Type == "input") && !strings.HasPrefix(s.Socket, "/dev/") {
		r.warn(at, "service %q: a service of type %s is a device below /dev, not %q", s.Name, s.Type, s.Socket)
	}
}
