package sandbox

import (
	"io"
	"log/slog"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/lxcconf"
)

// Options says where a Host keeps its things. Only RunDir is needed.
type Options struct {
	// RunDir is a directory for this runtime alone, made 0755 if missing.
	RunDir string
	// VolDir is where Mount places volumes, RunDir/volumes by default.
	VolDir string
	// ImageDir is where copies of images are kept that cannot be mounted,
	// RunDir/images by default. Copies are used again by later runs, so a
	// directory that lasts saves time.
	ImageDir string
	// Cgroup is the name of the cgroup below which each container has its own,
	// at NAME/lxc/<container>; "pantavisor" by default. Two runtimes on one
	// machine need two names.
	Cgroup string
	// Executable is the program to execute for a child, this process's own by
	// default. It must call Child.
	Executable string
	// NoLoop makes copies of images even where they could be mounted.
	NoLoop bool
	// Log gets what a person should know: what this machine cannot do, and
	// warnings about configurations.
	Log *slog.Logger
}

// Volume is one entry of a container's volume directory. Exactly one of Image,
// Dir and Tmpfs says what it is.
type Volume struct {
	Name   string // "root.squashfs", "docker--data", "lxc-overlay"
	Image  string // a squashfs image
	Digest string // of the image, if it is known: names its copy
	Dir    string // a directory, made if missing
	Tmpfs  bool   // an empty file system that goes away with Unmount
}

// Spec is one container.
type Spec struct {
	Name   string
	Config *lxcconf.Config

	// Volumes says where the paths of Config are on this machine:
	// "/volumes/app/root.squashfs" → a directory. A path below a key is looked
	// for below its directory, and its symbolic links cannot lead out of it.
	// Mounted.Volumes gives what Mount has placed; the volumes of other
	// containers, "/exports" and "/storage" come from the caller. A path below
	// "/volumes" that is not here is an error; any other is the host's own.
	Volumes map[string]string

	// Overlay is a directory that lies over the image, "" if there is none (a
	// revision's _config).
	Overlay string
	// Mounts come after those of Config.
	Mounts []lxcconf.Mount
	// Exports are paths of the container that others find below ExportDir, in a
	// directory of its name. One that is missing ends the start.
	Exports []string
	// Group makes the environment variable container=pv-GROUP.
	Group string
	// Hostname is used when Config has none; Name by default.
	Hostname string
	// Mdev holds rules of mdev.json: which devices the container sees.
	Mdev []string
	// OwnNet gives a network namespace although Config keeps the host's.
	OwnNet bool
	// PidsMax is how many processes and threads there may be; 0 is 4096 and
	// below 0 there is no limit.
	PidsMax int
	// Prestart runs when the namespaces exist and nothing of the container runs
	// yet. An error ends the start.
	Prestart func(pid int) error
	// Console gets what the container writes to its console. A slow writer
	// loses output, it does not stop the container.
	Console io.Writer
}

// Bind is the mount of a file or directory of the host, made as asked by file.
func Bind(source, target string, readOnly, file bool) lxcconf.Mount {
	m := lxcconf.Mount{Source: source, Target: target, Type: "none", Options: []string{"bind", "rw", "create=dir"}}
	if readOnly {
		m.Options[1] = "ro"
	}
	if file {
		m.Options[2] = "create=file"
	}
	return m
}
