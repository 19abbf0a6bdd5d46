package manifest

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// overlayKey is the key of the container's own writable layer.
const overlayKey = "lxc-overlay"

// volume is one persistent folder: its name in run.json's storage, the path it
// appears on ("" for the writable layer), and how long its content lives.
type volume struct {
	at, name, path    string
	overlay           bool // over the image's own folder, not in its place
	persistence, disk string
}

// persistences are the lifetimes that devices know (parser_system1.c, parse_storage).
var persistences = []string{"permanent", "revision", "boot"}

// volumes merges the image's Volumes, which are permanent, with s.Persistence,
// which wins, in byte order of the keys; the writable layer comes last and is
// always there.
func (r *renderer) volumes() []volume {
	merged, at := map[string]string{}, map[string]string{}
	if v, ok := r.config["Volumes"]; ok {
		set, isObject := v.(map[string]any)
		if !isObject {
			r.bad("config.Volumes", "Volumes: got %s, want an object whose keys are paths", describe(v))
		}
		for _, key := range sortedKeys(set) {
			if !strings.HasPrefix(key, "/") {
				r.bad("config.Volumes", "Volumes: %q does not start with \"/\"", shorten(key))
				continue
			}
			short := strings.TrimSuffix(key, "/")
			merged[short], at[short] = "permanent", "config.Volumes"
		}
	}
	for _, key := range sortedKeys(r.src.Persistence) {
		short := strings.TrimSuffix(key, "/")
		if from := at[short]; strings.HasPrefix(from, "persistence.") && merged[short] != r.src.Persistence[key] {
			r.conflict("persistence."+key, "persistence: %q stands there twice with different values", short)
		}
		merged[short], at[short] = r.src.Persistence[key], "persistence."+key
	}

	var out []volume
	writable := volume{at: overlayKey, name: overlayKey, persistence: "boot"}
	for _, key := range sortedKeys(merged) {
		v, ok := r.volume(at[key], key, merged[key])
		switch {
		case !ok:
		case key == overlayKey:
			writable = v
		default:
			r.beside(out, v)
			out = append(out, v)
		}
	}
	return append(out, writable)
}

func (r *renderer) volume(at, key, value string) (volume, bool) {
	v := volume{at: at}
	persistence, disk, hasDisk := strings.Cut(value, "@")
	v.persistence, v.disk = persistence, disk
	if !slices.Contains(persistences, persistence) {
		r.report(ruleValue, diag.Error, at, fmt.Sprintf("persistence: %q of %q is not a lifetime: want permanent, revision or boot, and \"@disk\" behind if wanted", shorten(value), shorten(key)), nearest(persistence, persistences))
		return v, false
	}
	if hasDisk {
		if !r.name(at, "persistence: the disk", disk) {
			return v, false
		}
		r.notKey(at, "persistence: the disk", disk, "persistence", "disk")
	}
	if key == overlayKey {
		v.name = overlayKey
		return v, true
	}
	prefix, where := "docker-", key
	if rest, isOverlay := strings.CutPrefix(key, "ovl:"); isOverlay {
		v.overlay, prefix, where = true, "dockerovl-", rest
	}
	if !strings.HasPrefix(where, "/") {
		r.report(ruleValue, diag.Error, at, fmt.Sprintf("persistence: the key %q is not a path", shorten(key)), `want "/path", "ovl:/path" or "lxc-overlay"`)
		return v, false
	}
	before := len(r.found)
	v.path = r.mountPath(at, "persistence: the path", where)
	if v.overlay && strings.ContainsAny(where, ":,") {
		r.bad(at, "persistence: the path %q holds a colon or a comma, which the options of an overlay cannot hold", shorten(where))
	}
	r.word(at, "persistence: the path", where)
	v.name = storageName(prefix, where)
	return v, len(r.found) == before
}

// storageName is the name of a path's volume: slashes become dashes.
func storageName(prefix, p string) string {
	return strings.ReplaceAll(strings.TrimSuffix(prefix+p, "/"), "/", "-")
}

// beside compares a volume with those before it: two must not share a name
// ("/a/b" and "/a-b" would), and an overlay hides what was mounted below its
// path before.
func (r *renderer) beside(earlier []volume, v volume) {
	for _, e := range earlier {
		switch {
		case e.name == v.name:
			r.conflict(v.at, "persistence: %q and %q would both be the volume %s", e.path, v.path, v.name)
		case e.path == v.path:
			r.conflict(v.at, "persistence: %q is both a folder of its own and an overlay", v.path)
		case v.overlay && strings.HasPrefix(path.Clean(e.path)+"/", path.Clean(v.path)+"/"):
			r.warn(v.at, "persistence: the overlay on %q is mounted after %q and hides it", v.path, e.path)
		}
	}
}
