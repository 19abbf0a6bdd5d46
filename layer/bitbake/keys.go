package bitbake

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// expandKeys renames every variable whose name holds ${...} to what the name
// expands to (bb.data.expandKeys). It runs once, when a recipe is finished.
func (d *Datastore) expandKeys() error {
	type todo struct{ key, to string }
	var list []todo
	keys, err := d.openKeys()
	if err != nil {
		return err
	}
	for _, key := range keys {
		t, err := d.expand(text{s: key}, "", nil)
		if err != nil {
			return err
		}
		if t.unk != nil {
			d.report(diag.Note, RuleUnknown, d.lastPos(key), "the variable name %s is not known: %s", key, t.unk.why)
			first, last := strings.Index(key, "${"), strings.LastIndexByte(key, '}')
			d.unknownKeys = append(d.unknownKeys, unknownKey{key[:first], key[last+1:], t.unk})
			continue
		}
		if t.s != key {
			list = append(list, todo{key, t.s})
		}
	}
	defer d.forget()
	for _, r := range list {
		now, taken, _, err := d.content(r.to, false, false)
		if err != nil {
			return err
		}
		if taken && now.unk == nil {
			if val, ok, _, err := d.content(r.key, false, false); err != nil {
				return err
			} else if ok {
				d.report(diag.Warning, RuleWarn, d.lastPos(r.key), "%s (%q) replaces %s (%q): both names are the same once expanded", r.key, clip(val.plain()), r.to, clip(now.plain()))
			}
		}
		if err := d.rename(r.key, r.to); err != nil {
			return err
		}
	}
	return nil
}

func (d *Datastore) lastPos(name string) diag.Position {
	if h := d.events(name); len(h) > 0 {
		return h[len(h)-1].Pos
	}
	return diag.Position{}
}

// openKeys lists the names that hold ${...}, sorted: those with a record, and
// those that an active override brings into being. Iterating over a
// DataSmart works out OVERRIDES, and fails with it.
func (d *Datastore) openKeys() ([]string, error) {
	if err := d.needOverrides(); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for s := d; s != nil; s = s.parent {
		for n := range s.vars {
			if !seen[n] && strings.Contains(n, "${") {
				v := d.find(n)
				seen[n] = v != nil && !v.empty()
			}
		}
	}
	for s := d; s != nil; s = s.parent {
		for n := range s.overrideData {
			if seen[n] || !strings.Contains(n, "${") {
				continue
			}
			data, _ := d.overriding(n)
			seen[n] = slices.ContainsFunc(data, func(o override) bool { return d.overrides.active(o.words) })
		}
	}
	maps.DeleteFunc(seen, func(_ string, live bool) bool { return !live })
	return slices.Sorted(maps.Keys(seen)), nil
}

// rename is DataSmart.renameVar: value, operations and overriding names move.
func (d *Datastore) rename(key, to string) error {
	if key == to {
		return nil
	}
	ev := Event{Op: "rename from " + key, Pos: d.lastPos(key), Internal: true}
	val, ok := d.raw(key)
	if !ok {
		// getVar(parsing=True) sees the weak default too.
		if v := d.find(key); v != nil && v.weak != nil {
			val, ok = *v.weak, true
		}
	}
	if ok {
		d.history[to] = append(d.ownEvents(to), d.events(key)...)
		ev.Operand = val.plain()
		d.record(to, ev)
		if err := d.setQuiet(to, val); err != nil {
			return err
		}
	}
	if v := d.find(key); v != nil && len(v.appends)+len(v.prepends)+len(v.removes) > 0 {
		t := d.own(to)
		t.appends = append(t.appends, v.appends...)
		t.prepends = append(t.prepends, v.prepends...)
		t.removes = append(t.removes, v.removes...)
		d.forget()
	}
	if data, has := d.overriding(key); has {
		list := &overrideList{owner: d}
		d.overrideData[to] = list
		for _, o := range data {
			name := strings.ReplaceAll(o.name, key, to)
			list.items = append(list.items, override{name, o.words})
			if err := d.rename(o.name, name); err != nil {
				return err
			}
		}
	}
	if strings.Contains(to, ":") && !ok {
		d.addOverride(to)
	}
	d.remove(key, Event{Op: "rename (to)", Operand: to, Pos: d.lastPos(key), Internal: true})
	return nil
}

// setQuiet sets without an event of its own.
func (d *Datastore) setQuiet(name string, val text) error {
	d.history[name] = d.ownEvents(name)
	h := len(d.history[name])
	err := d.set(name, val, parsing, Event{Internal: true})
	if len(d.history[name]) > h {
		d.history[name] = d.history[name][:h]
	}
	return err
}

// opRewrite marks the event in which LAYERDIR became a constant.
const opRewrite = "rewrite"

// replaceRefs writes the value of a variable into every text that names it,
// among the variables set since the last copy (DataSmart.expandVarref). This
// is how LAYERDIR becomes a constant at the end of a layer.conf.
func (d *Datastore) replaceRefs(variable string) error {
	ref := "${" + variable + "}"
	val, _, _, err := d.content(variable, false, false)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(d.vars)) {
		t, ok, _, err := d.content(name, false, false)
		if err != nil {
			return err
		}
		if !ok || !strings.Contains(t.s, ref) {
			continue
		}
		t.s = strings.ReplaceAll(t.s, ref, val.s)
		ev := Event{Op: opRewrite, Pos: d.lastPos(name), Operand: t.plain(), Internal: true}
		if err := d.set(name, t, plain, ev); err != nil {
			return fmt.Errorf("expand %s in %s: %w", variable, name, err)
		}
	}
	return nil
}
