package container

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/pvkit/pvkit/internal/diag"
)

// Layer is one step in the making of a tree. Kind says which; the other fields
// are those of its keys.
type Layer struct {
	Pos   diag.Position
	Kind  string // the key that makes the layer what it is: "dir", "file", …
	Value string // that key's value
	Archs []Arch // only for these; empty is for all

	At      string // where a directory, archive or program goes
	Exclude []string
	Rules   []PathRule
	Owner   Owner
	Mode    Mode
	Keep    []string // what a directory's files keep of the host: "owner", …
	Xattrs  map[string]string
	Caps    string // file capabilities in the text form of setcap

	// OwnerMap, when not nil, changes the owners that a directory or archive
	// has. A container.yaml cannot set it.
	OwnerMap func(uid, gid uint32) (uint32, uint32)

	Content *string // of a file
	From    string  // file of the host that a file's content comes from

	LDFlags string // of a Go program
	Tags    []string

	Target string // of a symlink

	Type         string // of a device: "char" or "block"
	Major, Minor int64

	UID, GID    int64 // of a user; -1 is not given
	Home, Shell string
	Comment     string
	Groups      []string // further ones
}

// PathRule changes what a layer has put at matching paths.
type PathRule struct {
	Pos    diag.Position
	Path   string
	Owner  Owner
	Mode   Mode
	Caps   string
	Xattrs map[string]string
	Remove bool
}

// What a dir layer can keep.
const (
	keepOwner  = "owner"
	keepMode   = "mode"
	keepTime   = "time"
	keepXattrs = "xattrs"
)

// layerKind is a row of the table of layers.
type layerKind struct {
	name string
	doc  string
	keys func(*Layer) []key
}

var hostPath = matching(`.+`, "a path, relative to the directory of the definition")

// rootfsLayers is what a root filesystem is made of.
var rootfsLayers = []layerKind{
	{"dir", "A directory of the host, with all that is below it. Everything belongs to 0:0; directories and executable files get 0755, other files 0644.", func(l *Layer) []key {
		return append(sourceKeys(l, "dir", "The directory."),
			key{"owner", "Owner of everything; 0:0 when it is missing.", owner(&l.Owner), false},
			key{"keep", "What is taken from the host as it is: owner, mode, time, xattrs.", texts(&l.Keep, oneOf(keepOwner, keepMode, keepTime, keepXattrs)), false},
		)
	}},
	{"tar", "An archive, plain or compressed with gzip, zstd, xz or bzip2. Owners, modes and extended attributes are those in it.", func(l *Layer) []key {
		return append(sourceKeys(l, "tar", "The archive."),
			key{"owner", "Owner of everything, in place of those in the archive.", owner(&l.Owner), false},
		)
	}},
	{"file", "A regular file.", func(l *Layer) []key {
		return append([]key{
			{"file", "Path in the image.", text(&l.Value, imagePath), true},
			{"content", "The content itself.", content(&l.Content), false},
			{"from", "File of the host with the content.", text(&l.From, hostPath), false},
		}, programKeys(l, "0644")...)
	}},
	{"go", "A Go program, built for the architecture, static and without paths or times in it.", func(l *Layer) []key {
		return append([]key{
			{"go", "Package: an import path, or a directory that begins with ./ or ../.", text(&l.Value, matching(`[^-].*`, "a Go package")), true},
			{"at", "Path in the image; /usr/bin/ and the package's last name when it is missing.", text(&l.At, imagePath), false},
			{"ldflags", `More flags for the linker, after "-s -w -buildid=".`, text(&l.LDFlags), false},
			{"tags", "Build tags.", texts(&l.Tags, matching(`[A-Za-z0-9_.]+`, "letters, digits, _ and .")), false},
		}, programKeys(l, "0755")...)
	}},
	{"mkdir", "A directory.", func(l *Layer) []key {
		return append([]key{{"mkdir", "Path in the image.", text(&l.Value, imagePath), true}}, metaKeys(l, "0755")...)
	}},
	{"symlink", "A symbolic link.", func(l *Layer) []key {
		return []key{
			{"symlink", "Path in the image.", text(&l.Value, imagePath), true},
			{"target", "What it points to, as it is.", text(&l.Target, matching(`.+`, "a path")), true},
			{"owner", "Owner; 0:0 when it is missing.", owner(&l.Owner), false},
		}
	}},
	{"device", "A device node.", func(l *Layer) []key {
		return append([]key{
			{"device", "Path in the image.", text(&l.Value, imagePath), true},
			{"type", "char or block.", text(&l.Type, oneOf("char", "block")), true},
			{"major", "Major number.", integer(&l.Major, 0, 4095), true},
			{"minor", "Minor number.", integer(&l.Minor, 0, 1048575), true},
		}, metaKeys(l, "0600")...)
	}},
	{"fifo", "A named pipe.", func(l *Layer) []key {
		return append([]key{{"fifo", "Path in the image.", text(&l.Value, imagePath), true}}, metaKeys(l, "0644")...)
	}},
	{"user", "A user with a locked password: a line in etc/passwd, one in etc/group unless the gid is there, and in etc/shadow and etc/gshadow if the image has them.", func(l *Layer) []key {
		const most = 4294967294
		return []key{
			{"user", "Name.", text(&l.Value, userName), true},
			{"uid", "Number.", integer(&l.UID, 0, most), true},
			{"gid", "Number of the group, which gets the user's name if it is new; uid when it is missing.", integer(&l.GID, 0, most), false},
			{"groups", "Names of further groups that the image has.", texts(&l.Groups, userName), false},
			{"home", "Home directory; / when it is missing. It is not made.", text(&l.Home, imagePath), false},
			{"shell", "Shell; /sbin/nologin when it is missing.", text(&l.Shell, imagePath), false},
			{"comment", "The fifth field of passwd.", text(&l.Comment, matching(`[^:\n]*`, "no colon and one line")), false},
		}
	}},
	{"remove", "Takes away what earlier layers put at a path, and everything below.", func(l *Layer) []key {
		return []key{{"remove", "Path in the image.", text(&l.Value, imagePath), true}}
	}},
}

// configLayers is what a configuration overlay is made of: a state knows
// neither owners nor modes nor links.
var configLayers = []layerKind{
	{"dir", "A directory of the host, with all files below it.", func(l *Layer) []key {
		return []key{
			{"dir", "The directory.", text(&l.Value, hostPath), true},
			{"at", "Where it goes below the overlay.", text(&l.At, imagePath), false},
			{"exclude", "Paths that are left out, as in a rootfs layer.", texts(&l.Exclude), false},
		}
	}},
	{"file", "A file.", func(l *Layer) []key {
		return []key{
			{"file", "Path below the overlay.", text(&l.Value, imagePath), true},
			{"content", "The content itself.", content(&l.Content), false},
			{"from", "File of the host with the content.", text(&l.From, hostPath), false},
		}
	}},
}

var userName = matching(`[a-z_][a-z0-9_-]{0,31}`, "a user name as useradd takes it: lower case, at most 32 letters")

func sourceKeys(l *Layer, name, doc string) []key {
	return []key{
		{name, doc + " ${arch} in it stands for the architecture.", text(&l.Value, hostPath), true},
		{"at", "Where it goes in the image; / when it is missing.", text(&l.At, imagePath), false},
		{"exclude", "Paths that are left out, as mksquashfs -wildcards -e takes them: lib/modules, ... *.pyc.", texts(&l.Exclude), false},
		{"rules", "Changes to paths of this layer.", rulesTarget(&l.Rules), false},
	}
}

func metaKeys(l *Layer, mask string) []key {
	return []key{
		{"mode", "Permission bits; " + mask + " when it is missing.", mode(&l.Mode), false},
		{"owner", "Owner; 0:0 when it is missing.", owner(&l.Owner), false},
		{"xattrs", "Extended attributes by their full names.", stringMap(&l.Xattrs), false},
	}
}

func programKeys(l *Layer, mask string) []key {
	return append(metaKeys(l, mask),
		key{"capabilities", `File capabilities as setcap takes them, such as "cap_net_bind_service=ep".`, text(&l.Caps), false})
}

func rulesTarget(p *[]PathRule) target {
	return list(p, func(r *PathRule) target {
		return object(&r.Pos, []key{
			{"path", "Path in the image, or a pattern with *, ? and [].", text(&r.Path, imagePath), true},
			{"owner", "Owner.", owner(&r.Owner), false},
			{"mode", "Permission bits.", mode(&r.Mode), false},
			{"capabilities", "File capabilities as setcap takes them.", text(&r.Caps), false},
			{"xattrs", "Extended attributes by their full names.", stringMap(&r.Xattrs), false},
			{"remove", "Leave it out.", boolean(&r.Remove), false},
		})
	})
}

func content(p **string) target {
	var s string
	t := text(&s)
	decode := t.decode
	t.decode = func(d *decoder, n *yaml.Node) {
		decode(d, n)
		*p = &s
	}
	return t
}

func stringMap(p *map[string]string) target {
	return target{
		want: "a mapping of names to strings", schema: map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}},
		decode: func(d *decoder, n *yaml.Node) {
			m := d.enter(n, yaml.MappingNode, "a mapping of names to strings")
			if m == nil {
				return
			}
			*p = map[string]string{}
			for _, kv := range d.pairs(m) {
				var s string
				d.within(kv.key.Value, kv.value, text(&s))
				(*p)[kv.key.Value] = s
			}
		},
	}
}

// layerTarget reads a layer: the one key of the table that it has decides
// which others may stand beside it.
func layerTarget(kinds []layerKind) func(*Layer) target {
	names := make([]string, 0, len(kinds))
	for _, k := range kinds {
		names = append(names, k.name)
	}
	want := "a layer: a mapping with one of the keys " + strings.Join(names, ", ")
	return func(l *Layer) target {
		return target{want: want, schema: layerSchema(kinds), keys: layerReference(kinds), decode: func(d *decoder, n *yaml.Node) {
			m := d.enter(n, yaml.MappingNode, want)
			if m == nil {
				return
			}
			l.Pos, l.UID, l.GID = d.position(n), -1, -1
			k := d.layerKind(m, kinds, names)
			if k == nil {
				return
			}
			l.Kind = k.name
			object(nil, allKeys(*k, l)).decode(d, n)
			d.checkLayer(n, l)
		}}
	}
}

func (d *decoder) layerKind(n *yaml.Node, kinds []layerKind, names []string) *layerKind {
	var have []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if slices.Contains(names, n.Content[i].Value) {
			have = append(have, n.Content[i])
		}
	}
	switch {
	case len(have) == 1:
		return &kinds[slices.Index(names, have[0].Value)]
	case len(have) > 1:
		d.errorf(have[1], "make it a layer of its own", "a layer is one thing: %q and %q", have[0].Value, have[1].Value)
		return nil
	}
	hint := ""
	for i := 0; i+1 < len(n.Content) && hint == ""; i += 2 {
		hint = suggest(n.Content[i].Value, names)
	}
	d.errorf(n, hint, "want a layer with one of the keys %s", strings.Join(names, ", "))
	return nil
}

// allKeys are the keys of a kind and those that every layer has.
func allKeys(k layerKind, l *Layer) []key {
	return append(k.keys(l), key{"only", "Architectures that have this layer; all when it is missing.",
		list(&l.Archs, func(a *Arch) target { return text((*string)(a), oneOf(archNames()...)) }), false})
}

func (d *decoder) checkLayer(n *yaml.Node, l *Layer) {
	if l.Kind == "file" && (l.Content != nil) == (l.From != "") {
		d.errorf(n, `for an empty file write content: ""`, `a file needs either "content" or "from"`)
	}
	if l.Owner.Set && slices.Contains(l.Keep, keepOwner) {
		d.errorf(n, "", `"owner" and "keep: [owner]" exclude each other`)
	}
}

func layerSchema(kinds []layerKind) map[string]any {
	var all []any
	for _, k := range kinds {
		s := object(nil, allKeys(k, &Layer{})).schema
		s["description"] = k.doc
		all = append(all, s)
	}
	return map[string]any{"oneOf": all}
}

// layerReference shows the kinds as keys whose keys are the layer's.
func layerReference(kinds []layerKind) []key {
	var out []key
	for _, k := range kinds {
		out = append(out, key{name: k.name, doc: k.doc, into: target{want: "a layer", keys: allKeys(k, &Layer{})}})
	}
	return out
}
