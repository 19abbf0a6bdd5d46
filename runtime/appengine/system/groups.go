package system

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// groups reads the groups from device.json, else from groups.json, else the
// built-in ones. device is the object of device.json, if there is one.
func (p *parser) groups(device object, hasDevice bool) {
	file, hasFile := p.file(groupsKey)
	switch fromDevice := device.get("groups"); {
	case hasDevice && !fromDevice.null():
		if hasFile {
			file.warnf("groups", "", "device.json defines the groups; this file is ignored")
		}
		p.groupList(fromDevice)
	case hasFile:
		p.groupList(file)
	default:
		p.sys.DefaultGroups = true
		p.groupList(node{p: p, file: builtIn, raw: json.RawMessage(defaultGroups)})
	}
}

func (p *parser) groupList(n node) {
	elems, ok := n.array()
	if !ok || len(elems) == 0 {
		n.errorf("groups", "write an array with at least one group", "is %s without groups", n.show())
		return
	}
	for _, e := range elems {
		if g := p.group(e); g != nil {
			if p.sys.Group(g.Name) != nil {
				e.warnf("groups", "give every group a name of its own", "there is a group %q already; no container can be in this one", g.Name)
			}
			p.sys.Groups = append(p.sys.Groups, g)
		}
	}
}

func (p *parser) group(n node) *Group {
	o, ok := n.object()
	if !ok {
		n.errorf("groups", `write an object, for example {"name": "app"}`, "is %s", n.show())
		return nil
	}
	o.unknown("groups", "name", "description", "status_goal", "restart_policy", "timeout", "auto_recovery")
	g := &Group{Name: o.text("name")}
	if g.Name == "" {
		o.errorf("groups", `write a "name"`, "the group has no name")
		return nil
	}
	g.StatusGoal = cmp.Or(statusGoal(o), pvctrl.StatusStarted)
	g.RestartPolicy = cmp.Or(restartPolicy(o), RestartContainer)
	g.Timeout = p.opts.GoalTimeout
	if t := o.get("timeout"); !t.null() {
		f, ok := t.number()
		if !ok || f < 0 || f > maxNumber {
			t.errorf("groups", "write a number of seconds", "is %s", t.show())
		}
		g.Timeout = time.Duration(f) * time.Second
	}
	g.Recovery = Recovery{Policy: RecoverNo}
	if r := o.get("auto_recovery"); !r.null() {
		g.Recovery = recovery(r)
	}
	return g
}
