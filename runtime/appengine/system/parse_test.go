package system_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/runtime/appengine/system"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// state is a state with members.
func state(members string) string {
	return `{"#spec":"pantavisor-service-system@1"` + members + `}`
}

// run is a run.json in a state.
func run(name, more string) string {
	return fmt.Sprintf(`,%q:{"name":%q,"type":"lxc","config":"lxc.container.conf"%s}`, name+"/run.json", name, more)
}

func device(more string) string { return `,"device.json":{` + more + `}` }

const twoGroups = `"groups":[{"name":"one"},{"name":"two","status_goal":"READY","restart_policy":"system","timeout":7}]`

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct{ members, want string }{
		"no object":        {`,"a/run.json":"` + strings.Repeat("0", 64) + `"`, `a/run.json: is a string (write an object)`},
		"no name":          {`,"a/run.json":{"type":"lxc"}`, `a/run.json: name: is "", and the directory is "a" (write "a")`},
		"other name":       {`,"a/run.json":{"name":"b"}`, `a/run.json: name: is "b", and the directory is "a" (write "a")`},
		"name of the host": {run("_pv_", ``), `_pv_/run.json: name: "_pv_" is the name under which the host calls pv-ctrl`},
		"name of the log":  {run("pantavisor", ``), `"pantavisor" is the name under which the runtime logs`},
		"odd name":         {run("a b", ``), `a b/run.json: name: "a b" holds ' '; the name of a container is made of letters, digits`},
		"hidden name":      {run(".a", ``), `".a" starts with a dot`},
		"long name":        {run(strings.Repeat("x", 201), ``), `is longer than 200 bytes`},
		"name a number":    {`,"a/run.json":{"name":5}`, `a/run.json: name: is 5 (write a string)`},
		"type":             {`,"a/run.json":{"name":"a","type":"docker","config":"c"}`, `a/run.json: type: is "docker", which the runtime cannot start (write "lxc")`},
		"no type":          {`,"a/run.json":{"name":"a","config":"c"}`, `a/run.json: names no type, and its status goal is STARTED (write "type": "lxc")`},
		"no config":        {`,"a/run.json":{"name":"a","type":"lxc"}`, `a/run.json: names no configuration, and its status goal is STARTED`},
		"group":            {run("a", `,"group":"ap"`), `a/run.json: group: there is no group "ap" (did you mean "app"? the groups are data, root, platform, app)`},
		"group of others":  {device(twoGroups) + run("a", `,"group":"app"`), `a/run.json: group: there is no group "app" (the groups are one, two)`},
		"runlevel":         {device(twoGroups) + run("a", `,"runlevel":"root"`), `a/run.json: runlevel: there is no group "root"`},
		"goal":             {run("a", `,"status_goal":"RUNNING"`), `a/run.json: status_goal: "RUNNING" is not a goal (write MOUNTED, STARTED or READY)`},
		"goal too short":   {run("a", `,"status_goal":"READ"`), `"READ" is not a goal`},
		"goal null":        {run("a", `,"restart_policy":"app"`), `a/run.json: restart_policy: "app" is not a policy (write "system" or "container")`},
		"roles":            {run("a", `,"roles":"mgmt"`), `a/run.json: roles: is "mgmt" (write an array, for example ["nobody"])`},
		"roles null":       {run("a", `,"roles":null`), `a/run.json: roles: is null`},
		"a role":           {run("a", `,"roles":["mgmt",5]`), `a/run.json: roles[1]: is 5 (write a string)`},
		"volumes":          {run("a", `,"volumes":{}`), `a/run.json: volumes: is an object (write an array of strings)`},
		"config":           {`,"a/run.json":{"name":"a","type":"lxc","config":"../b/lxc.container.conf"}`, `a/run.json: config: "../b/lxc.container.conf" leads out of the container's part`},
		"absolute config":  {`,"a/run.json":{"name":"a","type":"lxc","config":"/etc/passwd"}`, `a/run.json: config: "/etc/passwd" leads out of`},
		"root volume":      {run("a", `,"root-volume":"../../objects"`), `a/run.json: root-volume: "../../objects" cannot be an image's name (write a plain file name`},
		"images":           {run("a", `,"volumes":["x","b/c"]`), `a/run.json: volumes[1]: "b/c" cannot be an image's name`},
		"image empty":      {run("a", `,"volumes":["dm:"]`), `a/run.json: volumes[0]: "" cannot be an image's name`},
		"no object id":     {run("a", ``) + `,"a/lxc.container.conf":"abc"`, `a/lxc.container.conf: is "abc", not the digest of an object (write the 64 lower-case digits`},
		"object inline":    {run("a", ``) + `,"a/notes.txt":{"x":1}`, `a/notes.txt: is an object, not the digest of an object`},
		"volume name":      {run("a", `,"storage":{"../x":{"persistence":"boot"}}`), `a/run.json: storage.../x: "../x" cannot be a volume's name`},
		"volume's disk":    {run("a", `,"storage":{"x":{"persistence":"boot","disk":"d"}}`), `a/run.json: storage.x.disk: there is no disk "d"`},
		"recovery":         {run("a", `,"auto_recovery":"always"`), `a/run.json: auto_recovery: is "always" (write an object)`},
		"required string":  {run("a", `,"services":{"required":["x"]}`), `a/run.json: services.required[0]: is "x"; a requirement is an object, and nothing can meet this one (write {"name": "x"})`},
		"required name":    {run("a", `,"services":{"required":[{"name":"x"},{"target":"/x"}]}`), `a/run.json: services.required[1]: has no name, so nothing can meet it`},
		"services":         {run("a", `,"services":["x"]`), `a/run.json: services: is an array`},
		"network":          {run("a", `,"network":"host"`), `a/run.json: network: is "host" (write {"mode": "host"}`},
		"network mode":     {run("a", `,"network":{"mode":"pool"}`), `a/run.json: network: the mode is pool, and no pool is named`},
		"network ip":       {run("a", `,"network":{"pool":"p","ip":"10.0.0.256"}`), `a/run.json: network.ip: "10.0.0.256" is not one`},
		"network mac":      {run("a", `,"network":{"pool":"p","mac":"1:2:3"}`), `a/run.json: network.mac: "1:2:3" is not a MAC address`},
		"logs":             {run("a", `,"logs":["/var/log/x"]`), `a/run.json: logs[0]: is "/var/log/x"`},
		"drivers":          {run("a", `,"drivers":{"required":[5]}`), `a/run.json: drivers.required[0]: is 5`},
		"groups":           {device(`"groups":[]`), `device.json: groups: is an array without groups`},
		"group name":       {device(`"groups":[{"timeout":5}]`), `device.json: groups[0]: the group has no name (write a "name")`},
		"group entry":      {device(`"groups":["app"]`), `device.json: groups[0]: is "app"`},
		"group goal":       {device(`"groups":[{"name":"a","status_goal":"UP"}]`), `device.json: groups[0].status_goal: "UP" is not a goal`},
		"group timeout":    {device(`"groups":[{"name":"a","timeout":-1}]`), `device.json: groups[0].timeout: is -1 (write a number of seconds)`},
		"groups file":      {`,"groups.json":{}`, `groups.json: is an object without groups`},
		"device":           {`,"device.json":[]`, `device.json: is an array (write an object)`},
		"disk type":        {device(twoGroups + `,"disks":[{"name":"d","type":"floppy"}]`), `device.json: disks[0]: disk "d" has the unknown type "floppy"`},
		"disk name":        {device(twoGroups + `,"disks_v2":[{"type":"volume-disk"}]`), `device.json: disks_v2[0]: "" cannot be a disk's name`},
		"disk alias":       {device(twoGroups + `,"disks":[{"name":"d","type":"dual"},{"name":"e","type":"dual","aliases":["d"]}]`), `device.json: disks: disk "e" has the alias "d", which means disk "d" already`},
		"no disks":         {`,"disks.json":[]`, `disks.json: is an array without disks`},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := system.Parse(decode(t, state(c.members)), system.Options{})
			e, ok := errors.AsType[*system.InvalidError](err)
			if !ok || s != nil || len(e.Problems) == 0 {
				t.Fatalf("system %v, error %v", s, err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestFindings: what the runtime ignores or replaces is said, and the state
// stays valid.
func TestFindings(t *testing.T) {
	for name, c := range map[string]struct{ members, want string }{
		"key":              {run("a", `,"sevrices":{}`), `a/run.json: warning: sevrices: the runtime ignores this key (did you mean "services"?)`},
		"no key by prefix": {run("a", `,"group_x":"app"`), `group_x: the runtime ignores this key`},
		"role":             {run("a", `,"roles":["admin"]`), `"admin" is not a role; it gives no right`},
		"runlevel":         {run("a", `,"runlevel":"web"`), `"web" is not a runlevel`},
		"persistence":      {run("a", `,"storage":{"v":{"persistence":"perm"}}`), `storage.v.persistence: "perm" is not a persistence; boot is used`},
		"no persistence":   {run("a", `,"storage":{"v":{}}`), `storage.v: has no persistence; there will be no such volume`},
		"storage":          {run("a", `,"storage":[]`), `storage: is an array; there will be no storage`},
		"optional string":  {run("a", `,"services":{"optional":["x"]}`), `services.optional[0]: is "x"; a requirement is an object`},
		"required shape":   {run("a", `,"services":{"required":{"name":"x"}}`), `services.required: is an object; it is ignored`},
		"services key":     {run("a", `,"services":{"require":[]}`), `services.require: the runtime ignores this key (did you mean "required"?)`},
		"network mode":     {run("a", `,"network":{"mode":"bridge"}`), `neither a pool nor a mode that the runtime knows`},
		"pool":             {device(twoGroups+`,"network":{"pools":{"internal":{"bridge":"b","subnet":"10.0.0.0/24","gateway":"10.0.0.1"}}}`) + run("a", `,"network":{"pool":"interal"}`), `network.pool: there is no pool "interal"; the container will be refused (did you mean "internal"?)`},
		"exports":          {run("a", `,"exports":"/run"`), `a/run.json: warning: exports: is "/run"; nothing is exported (write an array of paths`},
		"exports entry":    {run("a", `,"exports":["/run",5,""]`), `exports[1]: is 5; it is not exported`},
		"dev-log":          {run("a", `,"dev-log":"yes"`), `dev-log: is "yes"; false is used`},
		"unless-stopped":   {run("a", `,"auto_recovery":{"policy":"unless-stopped"}`), `does not act on unless-stopped`},
		"policy":           {run("a", `,"auto_recovery":{"policy":"sometimes"}`), `"sometimes" is not a policy; no is used`},
		"retries":          {run("a", `,"auto_recovery":{"policy":"no","max_retries":"many"}`), `max_retries: is "many"; 0 is used`},
		"negative":         {run("a", `,"auto_recovery":{"policy":"no","retry_delay":-5}`), `retry_delay: is -5; 0 is used`},
		"factor":           {run("a", `,"auto_recovery":{"policy":"no","backoff_factor":"NaN"}`), `backoff_factor: is "NaN"; delays do not grow`},
		"backoff":          {run("a", `,"auto_recovery":{"policy":"no","backoff_policy":"5 days"}`), `"5 days" is not a backoff policy; reboot is used`},
		"services.json":    {run("a", ``) + `,"a/services.json":{"service":[]}`, `a/services.json: warning: services: is missing; nothing is exported`},
		"export type":      {run("a", ``) + `,"a/services.json":[{"name":"x","type":"tcp"}]`, `the service "x" has the unknown type "tcp"`},
		"export name":      {run("a", ``) + `,"a/services.json":[{"type":"unix"}]`, `[0]: has no name, so nobody can require it`},
		"export orphan":    {`,"a/services.json":[]`, `the state has no a/run.json`},
		"no group":         {device(twoGroups) + run("a", ``), `names no group; it gets the last one, "two"`},
		"device no groups": {device(`"disks":[]`), `defines no groups; then the runtime reads nothing else of it`},
		"device key":       {device(twoGroups + `,"ingress":{}`), `device.json: warning: ingress: the runtime ignores this key`},
		"groups twice":     {device(`"groups":[{"name":"a"},{"name":"a"}]`), `there is a group "a" already`},
		"groups ignored":   {device(twoGroups) + `,"groups.json":5`, `groups.json: warning: device.json defines the groups`},
		"disks ignored":    {device(twoGroups) + `,"disks.json":5`, `disks.json: warning: the state has a device.json`},
		"disk of tomorrow": {device(twoGroups + `,"disks_v3":[{"name":"d","type":"ram"}]`), `disk "d" has the unknown type "ram"; it is skipped`},
		"pool subnet":      {device(twoGroups + `,"network":{"pools":{"p":{"bridge":"b","subnet":"10.0.0.0","gateway":"10.0.0.1"}}}`), `network.pools.p: its subnet "10.0.0.0" is not an IPv4 network`},
		"pool gateway":     {device(twoGroups + `,"network":{"pools":{"p":{"bridge":"b","subnet":"10.0.0.0/8"}}}`), `its gateway "" is not an IPv4 address`},
		"pool parent":      {device(twoGroups + `,"network":{"pools":{"p":{"type":"macvlan","bridge":"b"}}}`), `it names no parent`},
		"pool type":        {device(twoGroups + `,"network":{"pools":{"p":{"type":"vlan","bridge":"b","subnet":"10.0.0.0/8","gateway":"10.0.0.1"}}}`), `"vlan" is not a type of pool; bridge is used`},
	} {
		t.Run(name, func(t *testing.T) {
			s := parse(t, state(c.members))
			var all strings.Builder
			for _, d := range s.Findings {
				fmt.Fprintln(&all, d)
			}
			if !strings.Contains(all.String(), c.want) {
				t.Errorf("got\n%swant %s", all.String(), c.want)
			}
		})
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	_, err := system.Parse(decode(t, state(run("a", `,"group":"x"`)+run("b", `,"status_goal":"x"`))), system.Options{})
	e, ok := errors.AsType[*system.InvalidError](err)
	if !ok || len(e.Problems) != 2 {
		t.Errorf("got %v", err)
	}
}

// TestOrder: containers stand in the order of the keys, which is not that of
// the names.
func TestOrder(t *testing.T) {
	s := parse(t, state(run("a", "")+run("a-b", "")+run("a.b", "")+run("A", "")+`,"bsp/run.json":{"linux":"x"},"x/y/run.json":{},"_config/a/run.json":{}`))
	var names []string
	for _, c := range s.Containers {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "A a-b a.b a" {
		t.Errorf("order %s", got)
	}
}

func TestGroupsOf(t *testing.T) {
	for name, c := range map[string]struct{ members, want string }{
		"the first goes to root":   {run("a", "") + run("b", "") + run("c", ""), "a:root b:platform c:platform"},
		"unless somebody is there": {run("a", "") + run("b", `,"group":"root"`), "a:platform b:root"},
		"a runlevel is a group":    {run("a", `,"runlevel":"root"`) + run("b", ""), "a:root b:platform"},
		"the group wins":           {run("a", `,"runlevel":"root","group":"app"`), "a:app"},
		"all to the last":          {device(twoGroups) + run("a", "") + run("b", `,"group":"one"`), "a:two b:one"},
		"groups.json":              {`,"groups.json":[{"name":"solo"}]` + run("a", ""), "a:solo"},
		"device.json wins":         {`,"groups.json":[{"name":"solo"}]` + device(twoGroups) + run("a", ""), "a:two"},
		"device.json without":      {device(``) + run("a", ""), "a:root"},
	} {
		t.Run(name, func(t *testing.T) {
			s := parse(t, state(c.members))
			var got []string
			for _, x := range s.Containers {
				got = append(got, x.Name+":"+x.Group.Name)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func TestInheritance(t *testing.T) {
	groups := device(`"groups":[{"name":"g","status_goal":"READY","restart_policy":"system","timeout":"7","auto_recovery":{"policy":"always","max_retries":3,"retry_delay":1}},{"name":"h"}]`)
	s := parse(t, state(groups+run("a", `,"group":"g"`)+run("b", `,"group":"g","status_goal":"STARTED","restart_policy":"container","auto_recovery":{"policy":"no"}`)+
		run("c", `,"group":"g","auto_recovery":{"policy":"on-failure","backoff_factor":"1.5"}`)+run("d", `,"group":"h"`)))
	always := system.Recovery{Policy: system.RecoverAlways, MaxRetries: 3, RetryDelay: time.Second}
	for name, want := range map[string]system.Container{
		"a": {StatusGoal: pvctrl.StatusReady, RestartPolicy: system.RestartSystem, Recovery: always},
		"b": {StatusGoal: pvctrl.StatusStarted, RestartPolicy: system.RestartContainer, Recovery: system.Recovery{Policy: system.RecoverNo}},
		// All or nothing: nothing of the group's object is left.
		"c": {StatusGoal: pvctrl.StatusReady, RestartPolicy: system.RestartSystem, Recovery: system.Recovery{Policy: system.RecoverOnFailure, Factor: 1.5}},
		"d": {StatusGoal: pvctrl.StatusStarted, RestartPolicy: system.RestartContainer, Recovery: system.Recovery{Policy: system.RecoverNo}},
	} {
		c := s.Container(name)
		if c.StatusGoal != want.StatusGoal || c.RestartPolicy != want.RestartPolicy || c.Recovery != want.Recovery {
			t.Errorf("%s: %s %s %+v, want %s %s %+v", name, c.StatusGoal, c.RestartPolicy, c.Recovery, want.StatusGoal, want.RestartPolicy, want.Recovery)
		}
	}
	if a, d := s.Group("g").Timeout, s.Group("h").Timeout; a != 7*time.Second || d != system.DefaultGoalTimeout {
		t.Errorf("timeouts %v, %v", a, d)
	}
	s, err := system.Parse(decode(t, state(groups)), system.Options{GoalTimeout: 10 * time.Second})
	if err != nil || s.Group("h").Timeout != 10*time.Second {
		t.Errorf("the option does not count: %v", err)
	}
}

func TestDefaultGroups(t *testing.T) {
	s := parse(t, state(""))
	app := system.Recovery{Policy: system.RecoverOnFailure, MaxRetries: 5, RetryDelay: 5 * time.Second, Factor: 2, StableTimeout: 30 * time.Second}
	no := system.Recovery{Policy: system.RecoverNo}
	want := []*system.Group{
		{Name: "data", StatusGoal: pvctrl.StatusMounted, RestartPolicy: system.RestartSystem, Timeout: 30 * time.Second, Recovery: no},
		{Name: "root", StatusGoal: pvctrl.StatusStarted, RestartPolicy: system.RestartSystem, Timeout: 30 * time.Second, Recovery: no},
		{Name: "platform", StatusGoal: pvctrl.StatusStarted, RestartPolicy: system.RestartSystem, Timeout: 30 * time.Second, Recovery: no},
		{Name: "app", StatusGoal: pvctrl.StatusStarted, RestartPolicy: system.RestartContainer, Timeout: 30 * time.Second, Recovery: app},
	}
	if !s.DefaultGroups || !reflect.DeepEqual(s.Groups, want) || len(s.Findings) > 0 {
		t.Errorf("groups %+v, findings %v", s.Groups, s.Findings)
	}
}

func TestRunJSON(t *testing.T) {
	s := parse(t, state(device(twoGroups+`,"disks":[{"name":"inner","type":"volume-disk","default":"yes","aliases":["old"]},{"name":"outer","type":"dual","disks":["x","y"]}],
		"volumes":{"pv--devmeta":{"persistence":"permanent"}},
		"network":{"pools":{"p":{"type":"bridge","bridge":"br0","subnet":"10.0.3.7/24","gateway":"10.0.3.1","nat":true},"q":{"type":"macvlan","parent":"eth0","subnet":"10.0.4.0/24","gateway":"10.0.4.1"}}}`)+
		run("a", `,"group":"one","root-volume":"dm:root.squashfs","volumes":["extra.squashfs","dm:more.squashfs"],"roles":{"mgmt":{}},
		"storage":{"data":{"persistence":"permanent","disk":"old"},"lxc-overlay":{"persistence":"boot","disk":"outer"}},
		"drivers":{"required":["r"],"optional":["o"],"manual":["m"]},
		"network":{"pool":"p","ip":"10.0.3.9/24","mac":"02:00:00:00:00:01","hostname":"h"},
		"logs":[{"file":"/var/log/x","maxsize":100}],"exports":["run/x","/b/../c"],"dev-log":true,"automodfw":"no",
		"services":{"optional":[{"name":"two"}],"required":[{"name":"one","role":"r","interface":"i","target":"/t","type":"unix"}]}`)))
	c := s.Container("a")
	want := &system.Container{
		Name: "a", Group: s.Groups[0], StatusGoal: pvctrl.StatusStarted, RestartPolicy: system.RestartContainer,
		Recovery: system.Recovery{Policy: system.RecoverNo}, Roles: []string{"mgmt"},
		Config: "lxc.container.conf", Root: "root.squashfs", Images: []string{"extra.squashfs", "more.squashfs"},
		Storage:  []system.Volume{{"data", system.Permanent, "inner"}, {"lxc-overlay", system.Boot, "outer"}},
		Requires: []system.Requirement{{Name: "one", Required: true, Type: "unix", Role: "r", Interface: "i", Target: "/t"}, {Name: "two"}},
		Drivers:  []system.Driver{{"r", system.DriverRequired}, {"o", system.DriverOptional}, {"m", system.DriverManual}},
		Network:  c.Network, Logs: []map[string]string{{"file": "/var/log/x", "maxsize": "100"}},
		Shares: []string{"/run/x", "/c"}, DevLog: true,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if n := c.Network; n.Mode != system.NetworkPool || n.Pool != "p" || n.IP != "10.0.3.9/24" || n.Address.String() != "10.0.3.9" || n.MAC != "02:00:00:00:00:01" || n.Hostname != "h" {
		t.Errorf("network %+v", n)
	}
	if p, ok := s.Pool("p"); !ok || p.Device != "br0" || p.Subnet.String() != "10.0.3.0/24" || !p.NAT || p.Macvlan {
		t.Errorf("pool %+v", p)
	}
	if q, ok := s.Pool("q"); !ok || q.Device != "eth0" || q.NAT || !q.Macvlan {
		t.Errorf("pool %+v", q)
	}
	// A volume that names no disk is on the default one.
	if !reflect.DeepEqual(s.Volumes, []system.Volume{{"pv--devmeta", system.Permanent, "inner"}}) {
		t.Errorf("volumes %+v", s.Volumes)
	}
	if len(s.Findings) > 0 {
		t.Errorf("findings %v", s.Findings)
	}
}

func TestRoles(t *testing.T) {
	for roles, want := range map[string]string{
		``:                            "[mgmt]",
		`,"roles":[]`:                 "[]",
		`,"roles":{}`:                 "[]",
		`,"roles":["nobody"]`:         "[]",
		`,"roles":["mgmt","nobody"]`:  "[mgmt]",
		`,"roles":["mgmt","mgmt"]`:    "[mgmt]",
		`,"roles":["mgm"]`:            "[]",
		`,"roles":{"mgmt":{},"x":{}}`: "[mgmt]",
	} {
		c := parse(t, state(run("a", roles))).Container("a")
		if got := fmt.Sprint(c.Roles); got != want || c.Roles == nil || c.HasRole("mgmt") != (want == "[mgmt]") {
			t.Errorf("%s: %s, want %s", roles, got, want)
		}
	}
}

func TestDelay(t *testing.T) {
	for _, c := range []struct {
		delay  time.Duration
		factor float64
		retry  int
		want   time.Duration
	}{
		{5 * time.Second, 2, 1, 5 * time.Second},
		{5 * time.Second, 2, 2, 10 * time.Second},
		{5 * time.Second, 2, 5, 80 * time.Second},
		{5 * time.Second, 0.5, 5, 5 * time.Second},
		{5 * time.Second, 0, 5, 5 * time.Second},
		{5 * time.Second, 1.5, 2, 7 * time.Second}, // whole seconds, as on a device
		{0, 2, 1 << 30, 0},
		{5 * time.Second, 1e300, 1 << 30, system.MaxDelay},
		{100 * time.Hour, 1, 1, system.MaxDelay},
	} {
		if got := (system.Recovery{RetryDelay: c.delay, Factor: c.factor}).Delay(c.retry); got != c.want {
			t.Errorf("%v × %v, retry %d: %v, want %v", c.delay, c.factor, c.retry, got, c.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for text, want := range map[string]string{
		`"reboot"`: "reboot", `"never"`: "never", `""`: "reboot", `"30"`: "30s", `30`: "30s", `"30s"`: "30s", `"90s"`: "90s",
		`"60s"`: "1min", `"10min"`: "10min", `"120min"`: "2h", `"1h"`: "1h", `"3600"`: "1h",
		`"0s"`: "reboot", `"-5s"`: "reboot", `"5m"`: "reboot", `"h"`: "reboot", `"99999999999999999999"`: "reboot", `"1000000h"`: "reboot", `true`: "reboot",
	} {
		c := parse(t, state(run("a", `,"auto_recovery":{"policy":"always","backoff_policy":`+text+`}`))).Container("a")
		if got := c.Recovery.Backoff.String(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(readReal(f, "state")))
	f.Add(state(device(twoGroups+`,"disks":[{"name":"d","type":"dual","aliases":["e"]}],"network":{"pools":{"p":{"bridge":"b","subnet":"10.0.0.0/8","gateway":"10.0.0.1"}}}`) +
		run("a", `,"services":{"required":[{"name":"x"}]},"auto_recovery":{"policy":"always","backoff_policy":"5min"},"network":{"pool":"p"}`) + `,"a/services.json":[{"name":"x"}]`))
	f.Add(state(`,"a/run.json":{"name":"a","group":"data","roles":{"mgmt":1},"storage":{"v":{"persistence":"boot"}}},"disks.json":[{}]`))
	f.Fuzz(func(t *testing.T, src string) {
		st, err := pvrexport.DecodeState(strings.NewReader(src))
		if err != nil {
			return
		}
		s, err := system.Parse(st, system.Options{})
		if err != nil {
			if e, ok := errors.AsType[*system.InvalidError](err); !ok || len(e.Problems) == 0 || s != nil {
				t.Fatalf("error %v with system %v", err, s)
			}
			return
		}
		for _, c := range s.Containers {
			if c.Group == nil || c.StatusGoal == pvctrl.StatusNone || c.RestartPolicy == "" || c.Recovery.Policy == "" || c.Roles == nil {
				t.Errorf("container %+v", c)
			}
			if d := c.Recovery.Delay(7); d < 0 || d > system.MaxDelay {
				t.Errorf("delay %v", d)
			}
		}
		missing := map[string]bool{}
		for _, m := range s.MissingServices() {
			missing[m.Consumer+"/"+m.Service] = true
		}
		for _, l := range s.Graph(func(string) int { return 1 }) {
			if missing[l.Consumer+"/"+l.Name] {
				t.Errorf("%+v is a link and missing", l)
			}
		}
		if c := system.Diff(st, s, st, s); c.Reboot != "" || len(c.Containers) > 0 {
			t.Errorf("it differs from itself: %+v", c)
		}
	})
}
