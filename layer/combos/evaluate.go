package combos

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/layer/bitbake"
)

// evaluation is what BitBake makes of a local.conf and a list of layers. Many
// combinations share one.
type evaluation struct {
	once                  sync.Once
	err                   error
	features, multiconfig Value
	others                map[string]string // of the variables that toggles change
	layers                []string
}

// evaluate evaluates a configuration, each distinct one once. absent are the
// layers that are not on this machine.
func (r *runner) evaluate(ctx context.Context, c *kas.Config) (e *evaluation, absent []string, err error) {
	local, err := c.LocalConf()
	if err != nil {
		return nil, nil, err
	}
	layers, err := c.Layers()
	if err != nil {
		return nil, nil, err
	}
	e = &evaluation{}
	for _, l := range layers {
		if _, err := fs.Stat(r.o.Kas.FS, path.Join(l.Dir, "conf/layer.conf")); err != nil {
			absent = append(absent, path.Join(l.Repo, l.Name))
			continue
		}
		e.layers = append(e.layers, "/"+l.Dir)
	}
	key := fmt.Sprintf("%x", sha256.Sum256([]byte(local+"\x00"+strings.Join(e.layers, "\x00"))))
	r.mu.Lock()
	if old := r.evals[key]; old != nil {
		e = old
	} else {
		r.evals[key] = e
	}
	r.mu.Unlock()
	e.once.Do(func() { e.err = r.load(ctx, e, key, local) })
	slices.Sort(absent)
	return e, absent, e.err
}

// load evaluates. The build directory exists in the Loader alone.
func (r *runner) load(ctx context.Context, e *evaluation, key, local string) error {
	top := "/" + path.Join(strings.TrimPrefix(r.o.Kas.Dir, "/"), ".pvkit-combos", key[:16])
	r.o.Loader.Overlay(top+"/conf/local.conf", []byte(local))
	d, _, err := bitbake.LoadConfig(ctx, bitbake.Options{Loader: r.o.Loader, TopDir: top, Layers: e.layers, Host: r.o.Host})
	if err != nil {
		return err
	}
	e.features, e.multiconfig = words(d, "PANTAVISOR_FEATURES"), words(d, "BBMULTICONFIG")
	e.others = map[string]string{}
	for _, name := range []string{"DISTRO_FEATURES", "MACHINE_FEATURES", "IMAGE_FEATURES"} {
		if v, ok, err := d.Get(name); err == nil && ok && v.Known {
			e.others[name] = v.Text
		}
	}
	return nil
}

// words is a variable as a list of words.
func words(d *bitbake.Datastore, name string) Value {
	v, ok, err := d.Get(name)
	switch {
	case err != nil:
		return Value{Why: err.Error()}
	case !ok:
		return Value{Words: []string{}, Known: true}
	}
	return Value{Words: append([]string{}, strings.Fields(v.Text)...), Known: v.Known, Why: v.Why}
}
