package system

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// System is a state as the runtime understands it.
type System struct {
	// Containers stand in the order of their run.json keys. That order is
	// part of the API: GET /containers and the graph follow it.
	Containers []*Container
	// Groups stand in the order in which they start.
	Groups []*Group
	// DefaultGroups says that the state defines no groups and the built-in
	// ones are used.
	DefaultGroups bool

	Disks   []Disk   // of device.json, or of disks.json without one
	Volumes []Volume // that belong to no container
	Pools   []Pool   // of device.json, by name

	// Findings are what the runtime ignores or replaces in the state.
	Findings []diag.Diagnostic
}

// Container is what a run.json describes. Values that it leaves out are those
// of the container's group.
type Container struct {
	Name string // also the directory of its files in the state

	Group         *Group
	StatusGoal    pvctrl.Status // StatusMounted, StatusStarted or StatusReady
	RestartPolicy RestartPolicy
	Recovery      Recovery
	Roles         []string // "mgmt" or none; never nil

	Config  string   // name of the LXC configuration; "" if the container is only mounted
	Root    string   // name of the root image; "" if there is none
	Images  []string // further images to mount
	Storage []Volume // by name

	Requires []Requirement // the required ones, then the optional ones
	Exports  []Export      // of services.json, in the order of the file
	Drivers  []Driver      // required, optional and manual ones, in that order
	Network  *Network      // nil: as the LXC configuration says
	Logs     []map[string]string

	Shares       []string // paths that others mount from /exports/<name>/
	DevLog       bool     // bind /dev/log
	HostFirmware bool     // mount the host's modules and firmware (automodfw)
}

// HasRole reports whether the container has a role.
func (c *Container) HasRole(role string) bool { return slices.Contains(c.Roles, role) }

// RoleMgmt is the role whose containers may use the whole API.
const RoleMgmt = "mgmt"

// RestartPolicy says what it takes to replace a container.
type RestartPolicy string

// The restart policies.
const (
	RestartSystem    RestartPolicy = "system"    // the whole system restarts
	RestartContainer RestartPolicy = "container" // the container alone does
)

// Group is a set of containers that start together, after those of the groups
// before it.
type Group struct {
	Name          string
	StatusGoal    pvctrl.Status
	RestartPolicy RestartPolicy
	Timeout       time.Duration // how long a container has to reach its goal
	Recovery      Recovery      // for containers without their own
}

// Requirement is a service that a container wants.
type Requirement struct {
	Name      string
	Required  bool
	Type      string // "" if not given; it takes no part in the matching
	Role      string // "" means any
	Interface string // "" means the type of the export
	Target    string // where the consumer wants it; "" if not given
}

// Export is a service that a container offers.
type Export struct {
	Name   string
	Type   string // one of ServiceTypes, or TypeUnknown
	Socket string // inside the provider; a device node for drm
}

// TypeUnknown is the type of an export whose type the runtime does not know.
const TypeUnknown = "unknown"

// ServiceTypes are the types of service that the runtime knows
// (service_str_to_type in parser_system1.c).
func ServiceTypes() []string { return []string{"rest", "dbus", "unix", "drm", "wayland", "input"} }

// Persistence says how long a volume keeps its content.
type Persistence string

// The persistence classes.
const (
	Permanent Persistence = "permanent" // for ever
	Revision  Persistence = "revision"  // as long as the revision exists
	Boot      Persistence = "boot"      // until the container stops
)

// Volume is writable storage.
type Volume struct {
	Name        string
	Persistence Persistence
	Disk        string // name of the disk, aliases resolved; "" for the storage itself
}

// Driver is a kernel driver that a container wants.
type Driver struct {
	Name string
	Need DriverNeed
}

// DriverNeed says when a driver is loaded.
type DriverNeed string

// The needs, as GET /drivers writes them.
const (
	DriverRequired DriverNeed = "REQUIRED"
	DriverOptional DriverNeed = "OPTIONAL"
	DriverManual   DriverNeed = "MANUAL"
)

// NetworkMode is how run.json connects a container.
type NetworkMode string

// The modes.
const (
	NetworkHost NetworkMode = "host"
	NetworkPool NetworkMode = "pool"
)

// Network is the network object of run.json.
type Network struct {
	Mode     NetworkMode
	Pool     string     // with NetworkPool
	Hostname string     // "" if not given
	IP       string     // fixed address as it is written, perhaps with a prefix length; "" if not given
	Address  netip.Addr // the address in IP; not valid if not given
	MAC      string     // fixed; "" if not given
}

// Pool is a network of device.json that gives containers their addresses.
type Pool struct {
	Name    string
	Macvlan bool   // else a bridge
	Device  string // the bridge, or the parent of the macvlan devices
	Subnet  netip.Prefix
	Gateway netip.Addr
	NAT     bool
}

// Disk is a disk of device.json. The runtime of a development machine keeps
// volumes of a disk below pv/<type>/<name> of its storage.
type Disk struct {
	Name    string
	Aliases []string
	Type    string // one of the words of device.json, for example "volume-disk"
	Path    string
	UUID    string
	Format  string
	Mode    string
	Default bool
	// Options holds the members that only the mount and format helpers read.
	Options map[string]string
	// Disks and InitOrder belong to disks of type "dual".
	Disks, InitOrder []string
}

// Recovery says what happens when a container ends by itself.
type Recovery struct {
	Policy        RecoveryPolicy
	MaxRetries    int // 0: as often as it takes
	RetryDelay    time.Duration
	Factor        float64       // by which the delay grows; 1 or less: not at all
	ResetWindow   time.Duration // after which a start is forgotten; 0: never
	StableTimeout time.Duration // after which a container counts as stable; 0: stability does not matter
	Backoff       Backoff       // when the retries are used up
}

// RecoveryPolicy is the word under auto_recovery.policy.
type RecoveryPolicy string

// The policies. The runtime does not look at exit statuses: on-failure starts
// a container again after any end. It knows unless-stopped, but does nothing
// about it: such a container's end is the system's, as with no.
const (
	RecoverNo            RecoveryPolicy = "no"
	RecoverAlways        RecoveryPolicy = "always"
	RecoverOnFailure     RecoveryPolicy = "on-failure"
	RecoverUnlessStopped RecoveryPolicy = "unless-stopped"
)

// MaxDelay is the longest wait before a retry; what grows beyond stays there.
const MaxDelay = 24 * time.Hour

// Delay is how long retry number n, counted from 1, waits.
func (r Recovery) Delay(n int) time.Duration {
	d := float64(r.RetryDelay)
	for ; n > 1 && r.Factor > 1 && d < float64(MaxDelay) && d > 0; n-- {
		d *= r.Factor
	}
	// The device counts whole seconds.
	return min(time.Duration(min(d, float64(MaxDelay))).Truncate(time.Second), MaxDelay)
}

// Backoff is what happens when a container's retries are used up.
type Backoff struct {
	Kind  BackoffKind
	After time.Duration // with BackoffDuration
}

// BackoffKind is the kind of a Backoff.
type BackoffKind int

// The kinds.
const (
	BackoffReboot   BackoffKind = iota // the system restarts
	BackoffNever                       // the container stays stopped
	BackoffDuration                    // the retries begin again later
)

// String gives the text that the API shows.
func (b Backoff) String() string {
	switch s := int(b.After / time.Second); {
	case b.Kind == BackoffNever:
		return "never"
	case b.Kind != BackoffDuration:
		return "reboot"
	case s >= 3600 && s%3600 == 0:
		return fmt.Sprintf("%dh", s/3600)
	case s >= 60 && s%60 == 0:
		return fmt.Sprintf("%dmin", s/60)
	default:
		return fmt.Sprintf("%ds", s)
	}
}

// Container returns the container of that name, or nil.
func (s *System) Container(name string) *Container {
	for _, c := range s.Containers {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Group returns the first group of that name, or nil.
func (s *System) Group(name string) *Group {
	for _, g := range s.Groups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// Pool returns the pool of that name.
func (s *System) Pool(name string) (Pool, bool) {
	for _, p := range s.Pools {
		if p.Name == name {
			return p, true
		}
	}
	return Pool{}, false
}

// Members yields the containers of a group in order.
func (s *System) Members(g *Group) []*Container {
	var members []*Container
	for _, c := range s.Containers {
		if c.Group == g {
			members = append(members, c)
		}
	}
	return members
}
