package appengine

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/rundir"
)

// snapshot is what readers see: everything at one instant.
type snapshot struct {
	revision   string
	containers []pvctrl.Container
	groups     []pvctrl.Group
	links      []pvctrl.Link
	mgmt       map[string]bool // containers, and whether they have the role
	drivers    map[string][]pvctrl.Driver
	status     pvctrl.Status
}

// publish replaces the snapshot if something changed, and tells who listens
// what it was.
func (s *supervisor) publish() {
	if !s.dirty || s.machine == nil {
		return
	}
	s.dirty = false
	n := &snapshot{
		revision: s.rev.name, containers: s.machine.Containers(), groups: s.machine.Groups(), links: s.machine.Links(),
		mgmt: map[string]bool{}, drivers: driversOf(s.rev.sys), status: s.machine.Status(),
	}
	for _, c := range n.containers {
		n.mgmt[c.Name] = slices.Contains(c.Roles, system.RoleMgmt)
	}
	old := s.snap.Swap(n)
	if old == nil {
		old = &snapshot{}
	}
	if !reflect.DeepEqual(old.links, n.links) {
		s.changed.tell()
		s.stream(pvctrl.EventGraph, pvctrl.GraphChange{Tag: ctrl.GraphTag(n.links), Links: len(n.links)})
		s.c.events.send(Event{Kind: EventLinks, Links: n.links})
	}
	for _, c := range n.containers {
		if !slices.ContainsFunc(old.containers, func(o pvctrl.Container) bool { return o.Name == c.Name && o.Status == c.Status }) {
			s.stream(pvctrl.EventContainer, c)
		}
	}
	for _, g := range n.groups {
		if !slices.ContainsFunc(old.groups, func(o pvctrl.Group) bool { return o.Name == g.Name && o.Status == g.Status }) {
			s.stream(pvctrl.EventGroup, g)
		}
	}
	// While all is being stopped the status says nothing: who is down does not
	// count, so a system of which one is left is READY.
	changed := old.status != n.status && s.ending == outcomeNone
	s.list(n, changed)
	if changed {
		s.scribe.add(func() { s.showStatus(n) })
	}
}

// showStatus lets the world know how the system is. It comes after all else:
// who has seen READY finds the containers READY, and in the list, too.
func (s *supervisor) showStatus(n *snapshot) {
	status := n.status
	s.c.status.Store(status.String())
	if err := s.c.run.set(deviceMeta, statusKey, status.String()); err != nil {
		s.c.log.Warn("the status is not shown", "error", err)
	}
	s.c.events.send(Event{Kind: EventSystem, Revision: n.revision, Status: status.String()})
}

// stream tells the clients of GET /events.
func (s *supervisor) stream(kind string, data any) {
	if err := s.c.stream.Publish(kind, data); err != nil {
		s.c.log.Error("an event is not published", "kind", kind, "error", err)
	}
}

// list writes the list of containers for the programs beside us. Of several
// that wait only the newest is written, and those that somebody waits for.
func (s *supervisor) list(n *snapshot, always bool) {
	var all []rundir.Container
	for _, c := range n.containers {
		r := rundir.Container{Name: c.Name, Status: c.Status, Autostart: true, Unprivileged: s.c.host.Rootless()}
		if c.Group != nil {
			r.Group = *c.Group
		}
		if b := s.boxes[c.Name]; b != nil && b.process != nil {
			r.PID, r.CGroup = b.process.PID(), cgroupOf(b.process.PID())
		}
		all = append(all, r)
	}
	s.scribe.add(func() {
		if s.snap.Load() != n && !always {
			return
		}
		text, err := rundir.Encode(all)
		if err == nil {
			err = s.c.run.write(rundir.File, text)
		}
		if err != nil {
			s.c.log.Warn("the list of containers is not written", "error", err)
		}
	})
}

// cgroupOf is a process's path in the unified hierarchy, "" for none.
func cgroupOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(path, "\n")
		}
	}
	return ""
}
