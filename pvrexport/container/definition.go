// Package container makes bundles from container definitions: it reads a
// container.yaml (Load, Parse), puts the layers of its root filesystem together,
// and builds image, manifests and bundle for each architecture (Builder). Schema
// and README.md describe every key.
package container

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport/manifest"
)

// Definition is a container.yaml: what is in a container and how a device
// runs it. Parse makes one; README.md describes every key.
type Definition struct {
	Pos diag.Position // of the whole
	Dir string        // host paths in the definition are relative to it

	Name          string
	Group         string
	Architectures []Arch
	Rootfs        []Layer
	Squashfs      Image

	Entrypoint []string
	Cmd        []string
	Env        []string // "NAME=value"
	Workdir    string

	RestartPolicy string
	StatusGoal    string
	AutoRecovery  map[string]any
	Roles         []string // nil is not given, which a device takes for "mgmt"
	Drivers       Drivers
	Capabilities  Capabilities
	Network       Network
	Services      Services
	Volumes       []Volume
	Mdev          []string
	Logs          []map[string]any
	Exports       []string
	Args          map[string]any // template arguments, as they are
	Base          string         // container whose image lies below this one's, from outside a container.yaml
	OCI           map[string]any // more of an image configuration's "config", from outside a container.yaml
	// NetworkDocument is a network.json, in place of Network, from outside a
	// container.yaml.
	NetworkDocument *manifest.Network

	Config      []Layer // files below _config/<name>/
	BuildOrigin string  // pv_build_origin of src.json, from outside a container.yaml
	JSON        string  // how the overlay's .json files are kept

	set map[string]diag.Position // where keys and arguments stand
}

// Drivers are the device drivers that the container asks the device for.
type Drivers struct {
	Required, Optional, Manual []string
}

// Capabilities are Linux capabilities by their lower-case names without "cap_".
type Capabilities struct {
	Keep, Drop []string
}

// Network joins the container to a pool of addresses of the device, or sets
// its interface up directly.
type Network struct {
	Pool, Hostname, IP, MAC      string
	Type, Link, Address, Gateway string
}

// Services are what the container offers to others and what it asks for.
type Services struct {
	Exports            []Export
	Required, Optional []Requirement
}

// Export is an element of services.json.
type Export struct {
	Name, Type, Socket string
	Bus, Owns, Role    string // D-Bus only
	Allow              []string
}

// Requirement is an element of run.json's services.required or .optional.
type Requirement struct {
	Name, Type, Role, Interface, Target string
}

// Volume is a directory that outlives the container's start.
type Volume struct {
	Pos         diag.Position
	Path        string // as pvr writes it: "/var", "ovl:/var", "lxc-overlay"
	Persistence string // "permanent", "revision" or "boot"
	Disk        string
}

// Image is how the root filesystem is packed.
type Image struct {
	Pos         diag.Position
	Preset      string
	Compression string
	BlockSize   Size
	Level       int64
	Exclude     []string
	Rules       []PathRule

	// Refinements that only Go code sets; see squashfs.Options.
	NoFragments, TailPacking, NoDuplicates, NoExport, NoXattrs bool
}

// SetPosition says where a key or an argument ("args.PV_GROUP") of a
// definition that no container.yaml holds was given, for findings about it.
func (def *Definition) SetPosition(key string, pos diag.Position) {
	if def.set == nil {
		def.set = map[string]diag.Position{}
	}
	def.set[key] = pos
}

// Parse reads a definition. name is the file's name for messages, dir the
// directory that its relative paths start from. The definition is nil if any
// finding is an error.
func Parse(name, dir string, src []byte) (*Definition, []diag.Diagnostic) {
	def := newDefinition(dir)
	d := &decoder{file: name}
	d.parse(src, root(def))
	found := d.diags
	if len(found) == 0 {
		found = def.Check()
	}
	diag.Sort(found)
	if worst, some := diag.Worst(found); some && worst == diag.Error {
		return nil, found
	}
	return def, found
}

func newDefinition(dir string) *Definition {
	return &Definition{Dir: dir, set: map[string]diag.Position{}}
}

// argsTarget notes where each argument stands.
func argsTarget(def *Definition) target {
	t := documents(&def.Args)
	decode := t.decode
	t.decode = func(d *decoder, n *yaml.Node) {
		if decode(d, n); n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				def.set["args."+n.Content[i].Value] = d.position(n.Content[i])
			}
		}
	}
	return t
}

// Names that a part of a state can have: it is a directory name on the
// device, a word in lxc.container.conf and a key in run.json.
var partName = matching(`[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}`, "letters, digits and . _ + - only, at most 64")

var imagePath = matching(`/.*`, "an absolute path in the image")

const (
	listExample = "a list of words, one for each argument"
	serviceName = "a service's name"
)

func root(def *Definition) target {
	keys := []key{
		{"name", "Name of the container: its directory in the state and on the device.", text(&def.Name, partName), true},
		{"group", "Group that the container starts with, such as root, platform or app. Template argument PV_GROUP.", text(&def.Group, partName), false},
		{"architectures", "Architectures to build for; all of amd64, arm64 and armv7 when it is missing.", list(&def.Architectures, func(a *Arch) target { return text((*string)(a), oneOf(archNames()...)) }), false},
		{"rootfs", "Layers of the root filesystem; a later one goes over an earlier one.", list(&def.Rootfs, layerTarget(rootfsLayers)), true},
		{"squashfs", "How the root filesystem is packed.", imageTarget(&def.Squashfs), false},
		{"entrypoint", "Program and its first arguments, " + listExample + ". /sbin/init when entrypoint and cmd are missing.", texts(&def.Entrypoint), false},
		{"cmd", "More arguments, or the whole command when there is no entrypoint, " + listExample + ".", texts(&def.Cmd), false},
		{"env", "Environment: a mapping of names to values, or a list of NAME=value.", envTarget(&def.Env), false},
		{"workdir", "Directory that the program starts in.", text(&def.Workdir, imagePath), false},
		{"restart_policy", "What an update of the container restarts. PV_RESTART_POLICY.", text(&def.RestartPolicy, oneOf("system", "container")), false},
		{"status_goal", "State in which the device counts the container as up. PV_STATUS_GOAL.", text(&def.StatusGoal, oneOf("MOUNTED", "STARTED", "READY")), false},
		{"auto_recovery", "What the device does when the container ends. PV_AUTO_RECOVERY; without it the group's rule holds.", recoveryTarget(def), false},
		{"roles", "What the container may do through pv-ctrl. Missing means mgmt; an empty list or nobody means nothing. PV_ROLES.", texts(&def.Roles, oneOf("mgmt", "nobody")), false},
		{"drivers", "Drivers of the device. PV_DRIVERS_REQUIRED, PV_DRIVERS_OPTIONAL, PV_DRIVERS_MANUAL.", object(nil, []key{
			{"required", "The container does not start without them.", texts(&def.Drivers.Required), false},
			{"optional", "Loaded when the device has them.", texts(&def.Drivers.Optional), false},
			{"manual", "Loaded when the container asks.", texts(&def.Drivers.Manual), false},
		}), false},
		{"capabilities", "Linux capabilities; keep and drop exclude each other. PV_LXC_CAP_KEEP, PV_LXC_CAP_DROP.", object(nil, []key{
			{"keep", "Drop all but these.", texts(&def.Capabilities.Keep, capability), false},
			{"drop", "Drop these.", texts(&def.Capabilities.Drop, capability), false},
		}), false},
		{"network", "The container's network; the device's own when it is missing.", networkTarget(&def.Network), false},
		{"services", "Services that the container offers to others and asks for.", servicesTarget(&def.Services), false},
		{"volumes", "Directories that are kept: path:persistence, or a mapping.", list(&def.Volumes, volumeTarget), false},
		{"mdev", `Rules for device nodes, as in mdev.json: ".* 0:0 666".`, texts(&def.Mdev), false},
		{"logs", "Log sources, as in run.json.", list(&def.Logs, documents), false},
		{"exports", "Paths that other containers may import.", texts(&def.Exports), false},
		{"args", "Template arguments (PV_*, PVR_*, LXC_*) as pvr app add knows them.", argsTarget(def), false},
		{"config", "Files of the configuration overlay, _config/<name>/ in the state.", list(&def.Config, layerTarget(configLayers)), false},
		{"config_json", "How .json files of the overlay are kept: as they are (object), or in the state, rewritten canonically, as pvr does (inline).", text(&def.JSON, oneOf("object", "inline")), false},
	}
	for i := range keys {
		keys[i].into = noted(keys[i].into, def.set, keys[i].name)
	}
	return object(&def.Pos, keys)
}

// noted remembers where a key's value stands.
func noted(t target, set map[string]diag.Position, name string) target {
	decode := t.decode
	t.decode = func(d *decoder, n *yaml.Node) {
		set[name] = d.position(n)
		decode(d, n)
	}
	return t
}

var capability = matching(`[a-z][a-z_ ]*`, `a capability in lower case without "cap_", such as net_admin`)

func recoveryTarget(def *Definition) target {
	const most = math.MaxInt32
	r := &recovery{}
	t := object(nil, []key{
		{"policy", "When to start again.", text(&r.policy, oneOf("no", "always", "on-failure", "unless-stopped")), true},
		{"max_retries", "How often, before the backoff policy holds.", integer(&r.retries, 0, most), false},
		{"retry_delay", "Seconds before the first new start.", integer(&r.delay, 0, most), false},
		{"backoff_factor", "The delay grows by this factor.", number(&r.factor), false},
		{"reset_window", "Seconds after which failures are forgotten.", integer(&r.window, 0, most), false},
		{"stable_timeout", "Seconds after which the container counts as stable.", integer(&r.stable, 0, most), false},
		{"backoff_policy", "After the last try: reboot, never, or a time such as 10min.", text(&r.backoff, matching(`reboot|never|[0-9]+(h|min|s)`, "reboot, never, or a number with h, min or s")), false},
	})
	decode := t.decode
	t.decode = func(d *decoder, n *yaml.Node) {
		decode(d, n)
		def.AutoRecovery = r.args(n)
	}
	return t
}

type recovery struct {
	policy, backoff                string
	retries, delay, window, stable int64
	factor                         float64
}

// args keeps the members that the file has: the device inherits nothing for
// those that are missing, but 0 is not the same as absent.
func (r *recovery) args(n *yaml.Node) map[string]any {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	all := map[string]any{
		"policy": r.policy, "backoff_policy": r.backoff, "backoff_factor": r.factor,
		"max_retries": r.retries, "retry_delay": r.delay, "reset_window": r.window, "stable_timeout": r.stable,
	}
	out := map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if v, ok := all[n.Content[i].Value]; ok {
			out[n.Content[i].Value] = v
		}
	}
	return out
}

func networkTarget(n *Network) target {
	return object(nil, []key{
		{"pool", "Pool of addresses that the device defines. PV_NETWORK_POOL.", text(&n.Pool), false},
		{"hostname", "Name in the pool; the container's name when missing. PV_NETWORK_HOSTNAME.", text(&n.Hostname), false},
		{"ip", "Fixed address in the pool. PV_NETWORK_IP.", text(&n.IP), false},
		{"mac", "Fixed hardware address. PV_NETWORK_MAC.", text(&n.MAC, matching(`[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}`, "six bytes such as 02:00:00:00:00:01")), false},
		{"type", "Interface without a pool. PV_LXC_NETWORK_TYPE.", text(&n.Type, oneOf("host", "empty", "phys", "veth")), false},
		{"link", "Interface of the device, for phys. PV_LXC_NETWORK_LINK.", text(&n.Link), false},
		{"address", "Address with prefix length, for veth. PV_LXC_NETWORK_IPV4_ADDRESS.", text(&n.Address), false},
		{"gateway", "Gateway, for veth. PV_LXC_NETWORK_IPV4_GATEWAY.", text(&n.Gateway), false},
	})
}

// serviceTypes are those that the mesh knows (pantavisor, parser_system1.c).
var serviceTypes = oneOf("rest", "dbus", "unix", "drm", "wayland", "input")

func servicesTarget(s *Services) target {
	require := func(r *Requirement) target {
		return choice(yaml.ScalarNode, text(&r.Name, matching(`.+`, serviceName)), object(nil, []key{
			{"name", "Name of the service.", text(&r.Name, matching(`.+`, serviceName)), true},
			{"type", "Its protocol; any when missing.", text(&r.Type, serviceTypes), false},
			{"role", "Role that the provider sees.", text(&r.Role), false},
			{"interface", "Interface of a D-Bus service.", text(&r.Interface), false},
			{"target", "Where the socket or device appears in this container.", text(&r.Target, imagePath), false},
		}))
	}
	return object(nil, []key{
		{"exports", "Services that the container offers. They become services.json.", list(&s.Exports, func(e *Export) target {
			return object(nil, []key{
				{"name", "Name that others ask for.", text(&e.Name, matching(`.+`, serviceName)), true},
				{"type", "Protocol.", text(&e.Type, serviceTypes), true},
				{"socket", "The socket or device in this container.", text(&e.Socket, imagePath), false},
				{"bus", "For dbus: the bus that the service is on.", text(&e.Bus), false},
				{"owns", "For dbus: the name that the service owns.", text(&e.Owns), false},
				{"role", "For dbus: the role that the service has there.", text(&e.Role), false},
				{"allow", "For dbus: who may call it.", texts(&e.Allow), false},
			})
		}), false},
		{"required", "A device refuses the revision without them: a name, or a mapping. PV_SERVICES_REQUIRED.", list(&s.Required, require), false},
		{"optional", "Used when they are there: a name, or a mapping. PV_SERVICES_OPTIONAL.", list(&s.Optional, require), false},
	})
}

var persistence = oneOf("permanent", "revision", "boot")

func volumeTarget(v *Volume) target {
	var overlay bool
	long := object(&v.Pos, []key{
		{"path", `Directory in the container, or lxc-overlay for the writable layer over the whole root.`, text(&v.Path, matching(`/.+|lxc-overlay`, "an absolute path, or lxc-overlay")), true},
		{"persistence", "How long it is kept: permanent, revision (until the next update) or boot.", text(&v.Persistence, persistence), true},
		{"overlay", "Lay it over what the image has at that path, instead of hiding that.", boolean(&overlay), false},
		{"disk", "Disk of the device that it is on.", text(&v.Disk), false},
	})
	decode := long.decode
	long.decode = func(d *decoder, n *yaml.Node) {
		decode(d, n)
		if overlay {
			v.Path = "ovl:" + v.Path
		}
	}
	var s string
	short := text(&s, matching(volumePattern, volumeHint))
	decodeShort := short.decode
	short.decode = func(d *decoder, n *yaml.Node) {
		v.Pos = d.position(n)
		if decodeShort(d, n); s != "" {
			*v, _ = ParseVolume(s)
			v.Pos = d.position(n)
		}
	}
	return choice(yaml.ScalarNode, short, long)
}

// volumePattern is the form of --volume. What stands after the path is after
// the last colon, so that "ovl:/var:permanent" means what it says.
const volumePattern = `(?:(?:ovl:)?/[^:]*|lxc-overlay)(?::(?:permanent|revision|boot)(?:@[^:@]+)?)`

const volumeHint = "[ovl:]/path:permanent, :revision or :boot, with @disk behind if wanted; or lxc-overlay in place of the path"

var volumeForm = regexp.MustCompile("^(?:" + volumePattern + ")$")

// ParseVolume reads a volume as pvr's users write it: a path, "ovl:" before it
// for an overlay, and a persistence. pvr itself splits at the first colon and
// so takes "/var" for the persistence of "ovl" (libpvr/applib.go,
// GetPersistence).
func ParseVolume(s string) (Volume, error) {
	if !volumeForm.MatchString(s) {
		return Volume{}, fmt.Errorf("volume %q: want %s", s, volumeHint)
	}
	i := strings.LastIndexByte(s, ':')
	v := Volume{Path: s[:i]}
	v.Persistence, v.Disk, _ = strings.Cut(s[i+1:], "@")
	return v, nil
}

func envTarget(p *[]string) target {
	const want = "NAME=value"
	asList := texts(p, matching(`[^=\n]+=[^\n]*`, want))
	asMap := target{
		want: "a mapping of names to values", schema: map[string]any{"type": "object", "additionalProperties": scalar(new(string)).schema},
		decode: func(d *decoder, n *yaml.Node) {
			m := d.enter(n, yaml.MappingNode, "a mapping")
			if m == nil {
				return
			}
			for _, kv := range d.pairs(m) {
				var s string
				d.within(kv.key.Value, kv.value, scalar(&s))
				if strings.ContainsAny(kv.key.Value, "=\n") || strings.Contains(s, "\n") {
					d.errorf(kv.key, "", "a name holds no = and a variable has one line")
				}
				*p = append(*p, kv.key.Value+"="+s)
			}
		},
	}
	return choice(yaml.SequenceNode, asList, asMap)
}

// DefinitionFile is the name of a definition's file in its directory.
const DefinitionFile = "container.yaml"

// Load reads a definition from a file, or from DefinitionFile if it is a
// directory. Its relative paths start from where the file is. The error means
// that the file cannot be read; what is wrong in it is a finding.
func Load(file string) (*Definition, []diag.Diagnostic, error) {
	if st, err := os.Stat(file); err == nil && st.IsDir() {
		file = filepath.Join(file, DefinitionFile)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", file, err)
	}
	def, found := Parse(file, filepath.Dir(file), src)
	return def, found, nil
}
