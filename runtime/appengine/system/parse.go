package system

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport"
)

// DefaultGoalTimeout is how long the containers of a group that names no
// timeout have to reach their goal (PV_UPDATER_GOALS_TIMEOUT).
const DefaultGoalTimeout = 120 * time.Second

// Options are the settings that change what a state means. The zero value
// has the runtime's defaults.
type Options struct {
	GoalTimeout time.Duration // 0: DefaultGoalTimeout
	DevLog      bool          // containers get /dev/log unless they say otherwise (PV_LOG_AUTO_DEVLOG)
}

// InvalidError is a state that the runtime refuses. Problems holds everything
// that is wrong with it, at least one entry.
type InvalidError struct{ Problems []diag.Diagnostic }

func (e *InvalidError) Error() string {
	var b strings.Builder
	b.WriteString("the state cannot run")
	for i, d := range e.Problems {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %s", sep, d.Pos, d.Message)
		if d.Hint != "" {
			fmt.Fprintf(&b, " (%s)", d.Hint)
		}
	}
	return b.String()
}

// The state's keys outside of containers.
const (
	deviceKey  = "device.json"
	groupsKey  = "groups.json"
	disksKey   = "disks.json"
	disksV3Key = "disks_v3.json"
	builtIn    = "the default groups"

	runFile      = "run.json"
	servicesFile = "services.json"
	bspDir       = "bsp"
)

//go:embed groups.json
var defaultGroups []byte

// Parse reads a state. The error is an *InvalidError.
func Parse(state *pvrexport.State, opts Options) (*System, error) {
	p := &parser{state: state, opts: opts, sys: &System{}}
	p.opts.GoalTimeout = cmp.Or(p.opts.GoalTimeout, DefaultGoalTimeout)
	p.device()
	p.objects()
	p.containers()
	p.assignGroups()
	p.inherit()
	if len(p.problems) > 0 {
		return nil, &InvalidError{Problems: p.problems}
	}
	return p.sys, nil
}

// parser is one run of Parse.
type parser struct {
	state    *pvrexport.State
	opts     Options
	sys      *System
	problems []diag.Diagnostic
	untyped  []*Container // whose run.json names no type
}

func (p *parser) add(d diag.Diagnostic) {
	if d.Severity == diag.Error {
		p.problems = append(p.problems, d)
	} else {
		p.sys.Findings = append(p.sys.Findings, d)
	}
}

// file returns the value of a key.
func (p *parser) file(key string) (node, bool) {
	v, ok := p.state.Get(key)
	return node{p: p, file: key, raw: json.RawMessage(v.JSON())}, ok
}

// objects looks for files that are neither an object nor JSON. Only a key that
// ends in .json has its content in the state (system1_parse_objects).
func (p *parser) objects() {
	for key, v := range p.state.All() {
		_, isObject := v.Object()
		if key == pvrexport.SpecKey || isObject || strings.HasSuffix(key, ".json") || strings.HasPrefix(key, "_sigs/") {
			continue
		}
		n, _ := p.file(key)
		n.errorf("object", "write the 64 lower-case digits of its SHA-256, or give the key a name that ends in .json", "is %s, not the digest of an object", n.show())
	}
}

// containers reads every run.json. Their order is that of the keys, which is
// not that of the names: "a-b/run.json" sorts before "a/run.json".
func (p *parser) containers() {
	for key := range p.state.All() {
		dir, ok := containerOf(key)
		if !ok {
			continue
		}
		n, _ := p.file(key)
		c := p.run(n, dir)
		if c == nil {
			continue
		}
		p.sys.Containers = append(p.sys.Containers, c)
		if services, ok := p.file(dir + "/" + servicesFile); ok {
			c.Exports = exports(services)
		}
	}
	for key := range p.state.All() {
		dir, file, _ := strings.Cut(key, "/")
		if file != servicesFile || dir == bspDir || strings.HasPrefix(dir, "_") {
			continue
		}
		if _, ok := p.state.Get(dir + "/" + runFile); !ok {
			n, _ := p.file(key)
			n.warnf("services-orphan", "", "the state has no %s/%s: nobody exports these services", dir, runFile)
		}
	}
}

// containerOf returns the directory of a run.json that describes a container.
// The board support package has one too, for the bootloader.
func containerOf(key string) (dir string, ok bool) {
	dir, file, _ := strings.Cut(key, "/")
	return dir, file == runFile && dir != bspDir && dir != "_config" && dir != "_sigs"
}

// assignGroups gives a group to the containers that name none. With the
// built-in groups the first one goes to "root", if nobody is there, and the
// others to "platform"; with a state's own groups all go to the last one
// (pv_state_set_default_runlevels and pv_state_set_default_groups in state.c).
func (p *parser) assignGroups() {
	s := p.sys
	if len(s.Groups) == 0 {
		return // that is an error already
	}
	last := s.Groups[len(s.Groups)-1]
	if !s.DefaultGroups {
		for _, c := range s.Containers {
			if c.Group == nil {
				c.Group = last
				n, _ := p.file(c.Name + "/" + runFile)
				n.warnf("group", `write a "group"`, "names no group; it gets the last one, %q", last.Name)
			}
		}
		return
	}
	root, platform := s.Group("root"), s.Group("platform")
	rootTaken := slices.ContainsFunc(s.Containers, func(c *Container) bool { return c.Group == root })
	for _, c := range s.Containers {
		switch {
		case c.Group != nil:
		case !rootTaken:
			c.Group, rootTaken = root, true
		default:
			c.Group = platform
		}
	}
}

// inherit fills in what a container takes from its group, and then checks what
// depends on it.
func (p *parser) inherit() {
	for _, c := range p.sys.Containers {
		g := c.Group
		if g == nil {
			continue
		}
		c.StatusGoal = cmp.Or(c.StatusGoal, g.StatusGoal)
		c.RestartPolicy = cmp.Or(c.RestartPolicy, g.RestartPolicy)
		if c.Recovery.Policy == "" {
			c.Recovery = g.Recovery
		}
		p.startable(c)
	}
}
