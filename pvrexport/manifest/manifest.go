// Package manifest makes the files of a container that Pantavisor reads beside
// its root filesystem: src.json, run.json, lxc.container.conf, services.json
// and mdev.json. It does the work of pvr's template builtin-lxc-docker, without
// that template's bugs, and adds what later pvr releases learned (service
// requirements, automatic recovery, network pools).
//
// Start at [Render]. One table, [Arguments], holds every template argument:
// checking, the reference page ([Document], ARGS.md) and suggestions come from
// it.
//
// Sources: pvr templates/builtin-lxc-docker.go (April 2023) and the patch on
// pvr 050 in meta-pantavisor; pantavisor parser/parser_system1.c for what the
// device makes of run.json and services.json; lxc confile.c and string_utils.c
// for lxc.container.conf. ARGS.md lists where this package differs from pvr on
// purpose.
package manifest

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/pvkit/pvkit/internal/diag"
)

// Template is the name that src.json gives to what this package renders.
const Template = "builtin-lxc-docker"

// The files that Render makes, by their name in the container's folder.
const (
	SrcFile      = "src.json"
	RunFile      = "run.json"
	ConfFile     = "lxc.container.conf"
	ServicesFile = "services.json"
	MdevFile     = "mdev.json"
)

// defaultGroups are the groups a device knows unless its device.json or
// groups.json says otherwise (pantavisor defaults/groups.json).
var defaultGroups = []string{"data", "root", "platform", "app"}

// Source says what a container is. Only Name is needed.
type Source struct {
	Name string
	// Group is the group of containers it belongs to; it wins over an argument
	// PV_GROUP. Empty leaves the choice to the device.
	Group string
	// Groups are the groups that the target device knows, for the check of
	// Group; nil means Pantavisor's four default groups.
	Groups []string
	// Args are the template arguments, see Arguments. Values are what JSON or
	// YAML decodes to, any Go integer type included.
	Args map[string]any
	// Config is the OCI image configuration's "config" object: Entrypoint, Cmd,
	// WorkingDir, Env and Volumes are used, the rest is only kept in src.json.
	Config map[string]any
	// Persistence maps "/path", "ovl:/path" or "lxc-overlay" to
	// "permanent", "revision" or "boot", with "@disk" behind if wanted.
	Persistence map[string]string
	Exports     []string
	Logs        []map[string]any

	// Base is the container whose root.squashfs lies below this one's.
	Base string
	// DMEnabled names the volumes that are opened through dm-verity.
	DMEnabled map[string]bool

	Network  *Network  // takes the place of the arguments PV_NETWORK_*
	Services []Service // what the container offers: services.json
	Mdev     []string  // device rules: mdev.json

	// Origin of the root filesystem, for src.json.
	Docker       Docker
	RootfsURL    string // kept only if it is a URL with a host or a registry reference
	RootfsDigest string // "sha256:<hex>"
	BuildOrigin  string // "yocto" for what the Yocto layer builds

	// Where gives the place of a finding. The path is "name", "args.PV_X",
	// "config.Cmd", "persistence./var", "services.0", "mdev.0" and so on. Nil
	// leaves positions empty.
	Where func(path string) diag.Position
}

// Docker says where a root filesystem made from a container image came from
// (pvr libpvr/applib.go, DockerSource). All of it is optional.
type Docker struct {
	Name, Tag, Digest, Source, Platform string
	// OvlDigest is set when the container has a root.ovl.squashfs: a second
	// image that lies over root.squashfs.
	OvlDigest     string
	FormatOptions string
}

// Manifest is a container's set of rendered files.
type Manifest struct {
	files map[string][]byte
}

// File returns a file's content, nil when the container has no such file.
func (m *Manifest) File(name string) []byte { return m.files[name] }

// Files yields the files in byte order of their names.
func (m *Manifest) Files() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, name := range slices.Sorted(maps.Keys(m.files)) {
			if !yield(name, m.files[name]) {
				return
			}
		}
	}
}

// Render checks s and makes its files. Findings come in the order of the
// files' parts; if one of them is an error, the manifest is nil. The error
// result means that s holds values which JSON cannot express.
//
// The JSON files are indented and end in a newline; their canonical form is
// the bundle's business. The same source gives the same bytes.
func Render(s Source) (*Manifest, []diag.Diagnostic, error) {
	args, err := plainObject("args", s.Args)
	if err != nil {
		return nil, nil, err
	}
	config, err := plainObject("config", s.Config)
	if err != nil {
		return nil, nil, err
	}
	logs := make([]any, 0, len(s.Logs))
	for i, l := range s.Logs {
		o, err := plainObject(fmt.Sprintf("logs.%d", i), l)
		if err != nil {
			return nil, nil, err
		}
		logs = append(logs, o)
	}

	c := &checker{where: s.Where}
	r := &renderer{checker: c, src: s, config: config, logs: logs}
	r.checkSource()
	r.args = c.arguments(args)
	r.checkTogether()
	r.storage = r.volumes()

	m := &Manifest{files: map[string][]byte{}}
	if !r.mountedOnly() {
		m.files[ConfFile] = r.lxcConf()
	}
	for _, f := range []struct {
		name    string
		content object // nil: no such file
	}{
		{RunFile, r.runJSON()},
		{SrcFile, r.srcJSON(args)},
		{ServicesFile, r.servicesJSON()},
		{MdevFile, r.mdevJSON()},
	} {
		if f.content == nil {
			continue
		}
		if m.files[f.name], err = f.content.pretty(); err != nil {
			return nil, c.found, fmt.Errorf("render %s of container %q: %w", f.name, s.Name, err)
		}
	}
	if worst, found := diag.Worst(c.found); found && worst == diag.Error {
		return nil, c.found, nil
	}
	return m, c.found, nil
}

// renderer carries one Render from the checks to the files.
type renderer struct {
	*checker
	src     Source
	args    values
	config  map[string]any
	logs    []any
	net     *Network
	storage []volume
}

// mountedOnly says whether the container is only mounted, never started: such
// a container has no lxc.container.conf, type, roles, exports or logs.
func (r *renderer) mountedOnly() bool {
	return r.args.text("PV_RUNLEVEL") == "data" || r.args.text("PV_STATUS_GOAL") == "MOUNTED"
}

// group returns the effective group, "" for none.
func (r *renderer) group() string {
	if r.src.Group != "" {
		return r.src.Group
	}
	return r.args.text("PV_GROUP")
}
