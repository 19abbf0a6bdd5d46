package container

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// objects are the objects of a state on their way into a bundle.
type objects struct {
	open map[string]source
}

type source struct {
	size int64
	open func() (io.ReadCloser, error)
}

func newObjects() *objects { return &objects{open: map[string]source{}} }

// OpenObject implements pvrexport.ObjectSource.
func (o *objects) OpenObject(id string) (io.ReadCloser, int64, error) {
	obj, ok := o.open[id]
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	r, err := obj.open()
	return r, obj.size, err
}

func (o *objects) addFile(id, file string, size int64) {
	o.open[id] = source{size, func() (io.ReadCloser, error) { return os.Open(file) }}
}

// put sets a key of the state to a content, inline or as an object.
func (o *objects) put(s *pvrexport.State, key string, data []byte, inline bool) error {
	v, err := pvrexport.JSONValue(data)
	if !inline {
		id := pvrexport.ObjectID(data)
		o.open[id] = source{int64(len(data)), rootfs.Bytes(data).Open}
		v, err = pvrexport.ObjectValue(id)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return s.Set(key, v)
}

// overlay adds the configuration overlay. A device treats a .json file whose
// value is an object's id as that object (pantavisor, parser_system1.c, since
// July 2022), so its bytes stay what they are; pvr rewrites them.
func (b *Builder) overlay(ctx context.Context, def *Definition, arch Arch, s *pvrexport.State, set *objects) error {
	if len(def.Config) == 0 {
		return nil
	}
	a := &assembly{b: b, def: def, arch: arch, tree: rootfs.New()}
	if err := a.layers(ctx, def.Config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	for name, n := range a.tree.All() {
		if n.Kind == rootfs.Dir {
			continue
		}
		key := "_config/" + def.Name + "/" + name
		if n.Kind != rootfs.File {
			return fmt.Errorf("config: %s is a %s; an overlay holds files only", name, n.Kind)
		}
		if why := reservedName(name); why != "" {
			return fmt.Errorf("config: %s: %s", name, why)
		}
		data, err := readAll(n.Content)
		if err != nil {
			return fmt.Errorf("config: %s: %w", name, err)
		}
		if err := set.put(s, key, data, pvrexport.Inlined(name) && def.JSON == "inline"); err != nil {
			return fmt.Errorf("config: %w", err)
		}
	}
	return nil
}

// readAll reads a file of an overlay.
func readAll(c rootfs.Content) ([]byte, error) {
	if c == nil {
		return nil, nil
	}
	if c.Size() > maxHostFile {
		return nil, fmt.Errorf("%d bytes are more than %d", c.Size(), maxHostFile)
	}
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// RuleSkipped marks findings about what a layer holds and an image cannot.
const RuleSkipped = "container-skipped"

// notes says what was left out, in order.
func (l skipLog) notes(def *Definition) []diag.Diagnostic {
	var out []diag.Diagnostic
	for _, what := range slices.Sorted(maps.Keys(l)) {
		names := l[what]
		slices.Sort(names)
		out = append(out, diag.Diagnostic{
			Pos: def.at("rootfs"), Severity: diag.Warning, Rule: RuleSkipped,
			Message: fmt.Sprintf("%s of %d files (first %s) is left out: an image cannot hold it", what, len(names), names[0]),
		})
	}
	return out
}
