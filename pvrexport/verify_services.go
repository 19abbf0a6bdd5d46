package pvrexport

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// serviceTypes are the types that devices know (service_str_to_type in
// parser_system1.c); another one becomes "unknown" without a word.
var serviceTypes = []string{"rest", "dbus", "unix", "drm", "wayland", "input"}

// requiredService is what a run.json asks for.
type requiredService struct{ name, file string }

// services checks what run.json wants from others (parse_platform_services).
func (r *runCheck) services() {
	services, ok := asObject(r.run["services"])
	if !ok {
		return
	}
	const rule = "run-services"
	for _, key := range services.keys() {
		raw := services[key]
		list, isList := asArray(raw)
		switch {
		case key != "required" && key != "optional":
			r.warnf(rule, r.file, "\"services.%s\" is unknown to devices%s", key, suggest(key, []string{"required", "optional"}))
			continue
		case !isList && kindOf(string(raw)) == kindString:
			r.errorf(rule, r.file, "\"services.%s\" is a string; devices see no requirement in it and need an array of objects", key)
		case !isList:
			r.errorf(rule, r.file, "\"services.%s\" is %s; devices need an array of objects", key, kindOf(string(raw)))
		}
		for i, element := range list {
			where := fmt.Sprintf("services.%s[%d]", key, i)
			if name := r.service(where, element, key == "required"); name != "" && key == "required" {
				r.required = append(r.required, requiredService{name, r.file})
			}
		}
	}
}

// service checks an element and returns the name in it.
func (r *runCheck) service(where string, raw json.RawMessage, required bool) string {
	const rule = "run-services"
	o, ok := asObject(raw)
	name, named := asString(o["name"])
	switch {
	case (!ok || !named || name == "") && required:
		r.errorf(rule, r.file, `%q is not an object with a "name": devices require the service "(null)" and refuse the whole revision`, where)
		return ""
	case !ok || !named || name == "":
		r.warnf(rule, r.file, `%q is not an object with a "name": devices can give nothing for it`, where)
		return ""
	}
	keys := []string{"name", "type", "role", "interface", "target"}
	r.lookups(r.file, where, o, keys...)
	for _, key := range o.keys() {
		s, isString := asString(o[key])
		switch {
		case !slices.Contains(keys, key):
			r.warnf(rule, r.file, "%q is unknown to devices%s", where+"."+key, suggest(key, keys))
		case !isString:
			r.errorf(rule, r.file, "%q is %s; devices need a string", where+"."+key, o.kind(key))
		case key == "type" && !slices.Contains(serviceTypes, s):
			r.warnf(rule, r.file, "%q is %q, not one of %s", where+".type", s, strings.Join(serviceTypes, ", "))
		}
	}
	return name
}

// services checks what the directory offers to others, <dir>/services.json
// (parse_service_exports).
func (c *stateCheck) services(dir string) {
	key := dir + "/services.json"
	v, ok := c.state.members[key]
	if !ok {
		return
	}
	const rule = "services"
	if _, ok := c.state.members[dir+"/run.json"]; !ok {
		c.errorf(rule, key, "the directory has no run.json: devices do not read its services")
	}
	list, isList := asArray(json.RawMessage(v.json))
	where := ""
	if o, ok := asObject(json.RawMessage(v.json)); ok {
		where = "services"
		list, isList = asArray(o["services"])
		if spec := o.str(SpecKey); !strings.HasPrefix(spec, "service-manifest-xconnect@") {
			c.warnf(rule, key, `"#spec" is %q, not "service-manifest-xconnect@1"`, spec)
		}
	}
	if !isList {
		c.errorf(rule, key, `devices need {"services":[...]} or an array and find no service`)
	}
	for i, raw := range list {
		c.export(key, fmt.Sprintf("%s[%d]", where, i), raw)
	}
}

// export checks one service that is offered.
func (c *stateCheck) export(file, where string, raw json.RawMessage) {
	const rule = "services"
	o, ok := asObject(raw)
	if !ok {
		c.errorf(rule, file, "%q is %s; devices need an object", where, kindOf(string(raw)))
		return
	}
	if t := o.str("type"); !slices.Contains(serviceTypes, t) {
		c.warnf(rule, file, "%q is %q, not one of %s: devices do not connect it", where+".type", t, strings.Join(serviceTypes, ", "))
	}
	need := []string{"name", "socket"}
	if _, owns := o["owns"]; owns { // a name on the hosted system bus
		need = []string{"bus", "owns"}
		if raw, ok := o["allow"]; ok && kindOf(string(raw)) != kindArray {
			c.errorf(rule, file, "%q is %s; devices need an array of strings", where+".allow", kindOf(string(raw)))
		}
	} else {
		c.provided[o.str("name")] = true
	}
	c.lookups(file, where, o, append([]string{"type", "owns"}, need...)...)
	for _, key := range need {
		if o.str(key) == "" {
			c.errorf(rule, file, "%q is missing or no string", where+"."+key)
		}
	}
}
