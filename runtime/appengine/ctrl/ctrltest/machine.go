package ctrltest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Machine answers for a supervisor: three containers, of which one consumes
// what another provides, the default groups, two daemons, revision 0. Nothing
// runs; statuses change when they are told to. It keeps to the rules of the API
// (what is refused and why), and moves on only with [Machine.Tick], so that a
// test sees each state that it wants to see.
type Machine struct {
	events *ctrl.Events

	mu         sync.Mutex // guards what follows
	containers []pvctrl.Container
	groups     []pvctrl.Group
	daemons    []pvctrl.Daemon
	links      []pvctrl.Link
	changed    chan struct{}
	user       metaStore
	device     metaStore
	objects    map[string][]byte
	sizes      map[string]int64 // of objects that the state refers to; they have no bytes here
	steps      map[string]*step
	current    string
	command    *pvctrl.Command
	pid        int
	aliases    []pvctrl.Alias
	settings   []pvctrl.Setting
}

type step struct {
	state     []byte
	progress  pvctrl.Progress
	commitMsg string
}

// The containers of a Machine.
const (
	Norole = "pv-example-norole"      // role nobody, restart policy container
	Client = "pv-example-unix-client" // role mgmt, restart policy system
	Server = "pv-example-unix-server" // the same
)

// NewMachine makes one in the state in which upstream's answers were recorded.
// What happens is published to events, which may be nil.
func NewMachine(events *ctrl.Events) *Machine {
	if events == nil {
		events = ctrl.NewEvents()
	}
	app, root := "app", "root"
	no := pvctrl.Bool(false)
	m := &Machine{
		events: events,
		containers: []pvctrl.Container{
			{Name: Norole, Group: &app, Status: pvctrl.StatusStarted, StatusGoal: pvctrl.StatusStarted, RestartPolicy: "container", Roles: []string{},
				AutoRecovery: &pvctrl.AutoRecovery{Policy: "on-failure", MaxRetries: 5, StableTimeout: 30, BackoffPolicy: "reboot"}, UserStopped: &no},
			{Name: Client, Group: &root, Status: pvctrl.StatusStarted, StatusGoal: pvctrl.StatusStarted, RestartPolicy: "system", Roles: []string{"mgmt"}},
			{Name: Server, Group: &root, Status: pvctrl.StatusStarted, StatusGoal: pvctrl.StatusStarted, RestartPolicy: "system", Roles: []string{"mgmt"}},
		},
		groups: []pvctrl.Group{
			{Name: "data", StatusGoal: pvctrl.StatusMounted, RestartPolicy: "system", Status: pvctrl.StatusReady},
			{Name: "root", StatusGoal: pvctrl.StatusStarted, RestartPolicy: "system", Status: pvctrl.StatusReady},
			{Name: "platform", StatusGoal: pvctrl.StatusStarted, RestartPolicy: "system", Status: pvctrl.StatusReady},
			{Name: "app", StatusGoal: pvctrl.StatusStarted, RestartPolicy: "container", Status: pvctrl.StatusReady,
				AutoRecovery: &pvctrl.GroupRecovery{MaxRetries: 5, StableTimeout: 30, BackoffPolicy: "reboot"}},
		},
		daemons: []pvctrl.Daemon{{Name: "hwrngd", PID: 0, Respawn: true}, {Name: "pv-xconnect", PID: 1099, Respawn: true}},
		links: []pvctrl.Link{{Consumer: Client, ConsumerPID: 1108, Provider: Server, ProviderPID: 1107, Name: "raw-unix", Type: "unix",
			Role: "any", Interface: "unix", Target: "/run/pv/services/raw-unix.sock", Socket: "/run/example/raw.sock"}},
		changed: make(chan struct{}),
		objects: map[string][]byte{},
		sizes:   map[string]int64{},
		steps: map[string]*step{"0": {
			state:    []byte(`{"#spec":"pantavisor-service-system@1"}`),
			progress: pvctrl.Progress{Status: "DONE", StatusMsg: "Factory revision", Percent: 100},
		}},
		current: "0",
		pid:     2000,
		aliases: []pvctrl.Alias{{Name: "control.remote", Value: false}, {Name: "log.level", Value: 4}, {Name: "policy", Value: nil},
			{Name: "storage.mntpoint", Value: "/var/pantavisor/storage"}, {Name: "system.init.mode", Value: 2}},
		settings: []pvctrl.Setting{{Key: "PV_LOG_LEVEL", Value: "4", Modified: "pv conf file"}, {Key: "PV_POLICY", Value: "(null)", Modified: "default"},
			{Key: "PV_STORAGE_MNTPOINT", Value: "/var/pantavisor/storage", Modified: "pv conf file"}, {Key: "PV_SYSTEM_INIT_MODE", Value: "appengine", Modified: "pv conf file"}},
	}
	for _, e := range []pvctrl.MetaEntry{{Key: "pantavisor.arch", Value: "x86_64/64/EL"}, {Key: "pantavisor.revision", Value: "0"},
		{Key: "pantavisor.mode", Value: "local"}, {Key: "pantahub.online", Value: "0"}, {Key: "pantahub.claimed", Value: "0"}, {Key: "pantavisor.status", Value: "READY"}} {
		m.device.put(e.Key, e.Value)
	}
	return m
}

// Backend is the machine as a server needs it.
func (m *Machine) Backend() ctrl.Backend {
	return ctrl.Backend{Containers: m, Groups: m, Signals: m, Objects: m, Steps: m, UserMeta: metaPart{m, &m.user}, DeviceMeta: metaPart{m, &m.device},
		Drivers: m, Commands: m, Settings: m, Graph: m, Daemons: m, GC: m, BuildInfo: m, Wakelocks: m}
}

// Load replaces the state of revision 0, the objects that it refers to, with
// their sizes, the settings and the device's metadata.
func (m *Machine) Load(state []byte, sizes map[string]int64, aliases []pvctrl.Alias, settings []pvctrl.Setting, device []pvctrl.MetaEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps["0"].state, m.sizes, m.aliases, m.settings = state, sizes, aliases, settings
	m.device.entries = slices.Clone(device)
}

// AddDaemon puts one more into the table.
func (m *Machine) AddDaemon(d pvctrl.Daemon) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.daemons = append(m.daemons, d)
}

// SetStatus moves a container.
func (m *Machine) SetStatus(name string, s pvctrl.Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.container(name); c != nil {
		m.move(c, s)
	}
}

// SetGoal changes the status that a container is to reach.
func (m *Machine) SetGoal(name string, s pvctrl.Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.container(name); c != nil {
		c.StatusGoal = s
	}
}

// SetLinks replaces the graph.
func (m *Machine) SetLinks(links []pvctrl.Link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.links = links
	m.graphChanges()
}

func (m *Machine) graphChanges() {
	close(m.changed)
	m.changed = make(chan struct{})
	m.publish(pvctrl.EventGraph, pvctrl.GraphChange{Tag: ctrl.GraphTag(m.links), Links: len(m.links)})
}

// publish passes on what it cannot fail to encode.
func (m *Machine) publish(typ string, data any) {
	if err := m.events.Publish(typ, data); err != nil {
		panic(err)
	}
}

func (m *Machine) container(name string) *pvctrl.Container {
	i := slices.IndexFunc(m.containers, func(c pvctrl.Container) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &m.containers[i]
}

func (m *Machine) move(c *pvctrl.Container, s pvctrl.Status) {
	c.Status = s
	m.publish(pvctrl.EventContainer, *c)
}

// Containers lists them.
func (m *Machine) Containers(context.Context) ([]pvctrl.Container, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Clone(m.containers)
	for i := range all { // what is behind the pointers may change later
		if a := all[i].AutoRecovery; a != nil {
			all[i].AutoRecovery = new(*a)
		}
		if u := all[i].UserStopped; u != nil {
			all[i].UserStopped = new(*u)
		}
	}
	return all, nil
}

// ContainerAction moves the container at once.
func (m *Machine) ContainerAction(_ context.Context, name string, a ctrl.Action) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.container(name)
	switch {
	case c == nil:
		return ctrl.ErrNotFound
	case c.RestartPolicy != "container":
		return ctrl.ErrSystemPolicy
	}
	down := c.Status >= pvctrl.StatusRecovering
	running := c.Status >= pvctrl.StatusStarting && !down
	switch {
	case a == ctrl.Stop:
		*c.UserStopped = true
		m.move(c, pvctrl.StatusStopped)
	case a == ctrl.Start && running:
	case a == ctrl.Start && !down:
		return ctrl.ErrCannotStart
	case a == ctrl.Restart && !running && !down:
		return ctrl.ErrCannotRestart
	default:
		*c.UserStopped = false
		m.move(c, pvctrl.StatusStarted)
	}
	return nil
}

// Mgmt tells a container's role.
func (m *Machine) Mgmt(name string) (mgmt, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.container(name)
	return c != nil && slices.Contains(c.Roles, "mgmt"), c != nil
}

// Groups lists them.
func (m *Machine) Groups(context.Context) ([]pvctrl.Group, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.groups), nil
}

// Signal makes a container ready whose goal that is.
func (m *Machine) Signal(_ context.Context, caller string, s pvctrl.Signal) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.container(caller)
	if c == nil || s.Type != "ready" || c.StatusGoal != pvctrl.StatusReady {
		return ctrl.ErrUnexpectedSignal
	}
	m.move(c, pvctrl.StatusReady)
	return nil
}

// Drivers: the containers have none.
func (m *Machine) Drivers(context.Context, string) ([]pvctrl.Driver, error) { return nil, nil }

// LoadDrivers has nothing to do.
func (m *Machine) LoadDrivers(context.Context, string, string) error { return nil }

// UnloadDrivers has nothing to do.
func (m *Machine) UnloadDrivers(context.Context, string, string) error { return nil }

// Aliases lists the settings with a legacy name.
func (m *Machine) Aliases(context.Context) ([]pvctrl.Alias, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.aliases, nil
}

// Settings lists all.
func (m *Machine) Settings(context.Context) ([]pvctrl.Setting, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settings, nil
}

// Links is the graph.
func (m *Machine) Links(context.Context) ([]pvctrl.Link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.links), nil
}

// GraphChanged is closed by [Machine.SetLinks].
func (m *Machine) GraphChanged() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Daemons lists them.
func (m *Machine) Daemons(context.Context) ([]pvctrl.Daemon, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.daemons), nil
}

// DaemonAction takes effect at once.
func (m *Machine) DaemonAction(_ context.Context, name string, a ctrl.Action) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.daemons, func(d pvctrl.Daemon) bool { return d.Name == name })
	if i < 0 {
		return ctrl.ErrNotFound
	}
	d := &m.daemons[i]
	d.Respawn = a == ctrl.Start
	if !d.Respawn {
		d.PID = -1
	} else if d.PID <= 0 {
		m.pid++
		d.PID = m.pid
	}
	m.publish(pvctrl.EventDaemon, *d)
	return nil
}

// BuildInfo is empty, as in upstream's appengine.
func (m *Machine) BuildInfo() []byte { return nil }

// Wakelocks are none.
func (m *Machine) Wakelocks(context.Context) (pvctrl.Wakelocks, error) {
	return pvctrl.Wakelocks{Mode: "disabled"}, nil
}

// metaStore keeps the newest key first.
type metaStore struct{ entries []pvctrl.MetaEntry }

func (s *metaStore) put(key, value string) {
	i := slices.IndexFunc(s.entries, func(e pvctrl.MetaEntry) bool { return e.Key == key })
	if i >= 0 {
		s.entries[i].Value = value
		return
	}
	s.entries = slices.Insert(s.entries, 0, pvctrl.MetaEntry{Key: key, Value: value})
}

// metaPart is one of the machine's two stores.
type metaPart struct {
	m     *Machine
	store *metaStore
}

func (p metaPart) Meta(context.Context) ([]pvctrl.MetaEntry, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return slices.Clone(p.store.entries), nil
}

func (p metaPart) PutMeta(_ context.Context, key, value string) error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.store.put(key, value)
	return nil
}

func (p metaPart) DeleteMeta(_ context.Context, key string) error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	i := slices.IndexFunc(p.store.entries, func(e pvctrl.MetaEntry) bool { return e.Key == key })
	if i < 0 {
		return ctrl.ErrNotFound
	}
	p.store.entries = slices.Delete(p.store.entries, i, i+1)
	return nil
}

// Objects lists them by digest.
func (m *Machine) Objects(context.Context) ([]pvctrl.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := maps.Clone(m.sizes)
	for sum, text := range m.objects {
		all[sum] = int64(len(text))
	}
	var list []pvctrl.Object
	for _, sum := range slices.Sorted(maps.Keys(all)) {
		list = append(list, pvctrl.Object{SHA256: sum, Size: strconv.FormatInt(all[sum], 10)})
	}
	return list, nil
}

// OpenObject reads one that was put.
func (m *Machine) OpenObject(_ context.Context, sum string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text, ok := m.objects[sum]
	if !ok {
		return nil, ctrl.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(text)), nil
}

// PutObject stores one in memory.
func (m *Machine) PutObject(_ context.Context, sum string, _ int64, r io.Reader) error {
	m.mu.Lock()
	_, stored := m.objects[sum]
	_, known := m.sizes[sum]
	m.mu.Unlock()
	if stored || known {
		return nil
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if got := sha256.Sum256(text); hex.EncodeToString(got[:]) != sum {
		return ctrl.ErrBadObject
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[sum] = text
	return nil
}

// CollectGarbage forgets the objects that were put and the local revisions
// that do not run.
func (m *Machine) CollectGarbage(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.collect(), nil
}

func (m *Machine) collect() (n int64) {
	for _, text := range m.objects {
		n += int64(len(text))
	}
	clear(m.objects)
	maps.DeleteFunc(m.steps, func(rev string, _ *step) bool { return rev != "0" && rev != m.current })
	return n
}

// sorted gives the plain revisions, then the local ones.
func (m *Machine) sorted() []string {
	return slices.SortedFunc(maps.Keys(m.steps), func(a, b string) int {
		if x, y := strings.HasPrefix(a, "locals/"), strings.HasPrefix(b, "locals/"); x != y {
			if y {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
}

// encoded is for values that always have a form in JSON.
func encoded(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
