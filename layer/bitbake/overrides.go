package bitbake

import (
	"slices"
	"strings"
)

// overrideState is OVERRIDES as it was last worked out. It goes stale when a
// variable in overrideVars is set, and only then: a variable that OVERRIDES
// reaches by two steps can change without notice, as in BitBake.
type overrideState struct {
	known   bool // list holds something, perhaps the placeholder of busy
	busy    bool // OVERRIDES is being worked out
	list    []string
	set     map[string]bool
	unknown *unknown
}

// active reports whether all words of "a:b" are in OVERRIDES.
func (o *overrideState) active(words string) bool {
	if o.set[words] {
		return true
	}
	if strings.IndexByte(words, ':') < 0 {
		return false
	}
	for w := range strings.SplitSeq(words, ":") {
		if !o.set[w] {
			return false
		}
	}
	return true
}

// listed is the same question for :append:a:b, where "" needs nothing.
func (o *overrideState) listed(words string) bool {
	if words == "" {
		return true
	}
	for w := range strings.SplitSeq(words, ":") {
		if !o.set[w] {
			return false
		}
	}
	return true
}

func (o *overrideState) use(list []string) {
	o.known = true
	o.list = list
	o.set = make(map[string]bool, len(list))
	for _, w := range list {
		o.set[w] = true
	}
}

// needOverrides is DataSmart.need_overrides: OVERRIDES may itself depend on
// overrides, so it is worked out until it is stable, five times at most. After
// an error the placeholder stays, as it does there.
func (d *Datastore) needOverrides() error {
	o := &d.overrides
	if o.known || o.busy {
		return nil
	}
	ask := func() ([]string, error) {
		v, err := d.get("OVERRIDES")
		if err != nil {
			return nil, err
		}
		o.unknown = v.unk
		return strings.Split(v.s, ":"), nil
	}
	for range 5 {
		o.busy = true
		o.use([]string{})
		list, err := ask()
		if err != nil {
			return err
		}
		o.use(list)
		o.busy = false
		d.forget()
		again, err := ask()
		if err != nil {
			return err
		}
		if slices.Equal(list, again) {
			return nil
		}
		o.use(again)
	}
	return &Error{Type: "BBHandledException", Msg: "OVERRIDES does not settle after 5 rounds: it depends on variables that it overrides"}
}

// isOverrideWord is data_smart.__override_regexp__.match: the first letter
// decides.
func isOverrideWord(s string) bool {
	return s != "" && (s[0] >= 'a' && s[0] <= 'z' || s[0] >= '0' && s[0] <= '9')
}

// overrideSteps yields each way to read name as base and override words,
// longest base first. A name without a colon gives its own quirk: BitBake
// cuts the last letter off.
func overrideSteps(name string, f func(base, words string)) {
	i := strings.LastIndexByte(name, ':')
	words := name[i+1:]
	base := ""
	switch {
	case i >= 0:
		base = name[:i]
	case name != "":
		base = name[:len(name)-1]
	}
	for isOverrideWord(words) {
		f(base, words)
		j := strings.LastIndexByte(base, ':')
		if j <= 0 {
			return
		}
		words, base = name[j+1:], name[:j]
	}
}

// overrideList is the list of one variable. It is changed in place by the
// datastore that made it; a copy makes its own first.
type overrideList struct {
	owner *Datastore
	items []override
	adds  int               // how often the list was added to
	seen  map[override]bool // for lists that are added to often
}

// overriding returns the names that override a variable.
func (d *Datastore) overriding(name string) ([]override, bool) {
	for s := d; s != nil; s = s.parent {
		if l, ok := s.overrideData[name]; ok {
			if l == nil {
				return nil, false
			}
			return l.items, true
		}
	}
	return nil, false
}

// ownOverriding returns the list for writing.
func (d *Datastore) ownOverriding(name string) *overrideList {
	if l := d.overrideData[name]; l != nil && l.owner == d {
		return l
	}
	items, _ := d.overriding(name)
	l := &overrideList{owner: d, items: slices.Clone(items)}
	d.overrideData[name] = l
	return l
}

const oftenAdded = 32

func (l *overrideList) has(o override) bool {
	if l.adds++; l.adds < oftenAdded {
		return slices.Contains(l.items, o)
	}
	if l.seen == nil {
		l.seen = make(map[override]bool, 2*len(l.items))
		for _, x := range l.items {
			l.seen[x] = true
		}
	}
	return l.seen[o]
}

// addOverride is _setvar_update_overrides.
func (d *Datastore) addOverride(name string) {
	overrideSteps(name, func(base, words string) {
		l, o := d.ownOverriding(base), override{name, words}
		if l.has(o) {
			return
		}
		l.items = append(l.items, o)
		if l.seen != nil {
			l.seen[o] = true
		}
	})
}

// dropOverride is the loop in delVar that takes a name back.
func (d *Datastore) dropOverride(name string) {
	overrideSteps(name, func(base, words string) {
		items, ok := d.overriding(base)
		if !ok || !slices.Contains(items, override{name, words}) {
			return
		}
		l := d.ownOverriding(base)
		i := slices.Index(l.items, override{name, words})
		l.items, l.seen = slices.Delete(l.items, i, i+1), nil
	})
}

// overridesChanged is _setvar_update_overridevars: name is one that OVERRIDES
// depends on. What its value names joins the set.
func (d *Datastore) overridesChanged(name string, val text) error {
	found, err := d.references(val, name)
	if err != nil {
		return err
	}
	for !d.allKnownOverrideVars(found) {
		for _, n := range found {
			d.overrideVars[n] = true
		}
		var next []string
		for _, n := range found {
			v, ok, err := d.getMaybe(n)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			more, err := d.references(v, n)
			if err != nil {
				return err
			}
			next = append(next, more...)
		}
		found = next
	}
	busy := d.overrides.busy
	d.overrides = overrideState{busy: busy}
	d.forget()
	return nil
}

func (d *Datastore) allKnownOverrideVars(names []string) bool {
	for _, n := range names {
		if !d.overrideVars[n] {
			return false
		}
	}
	return true
}

// winner returns the name that overrides X, following OVERRIDES from left to
// right and cutting matched words from the end, until nothing changes; the
// last match wins (DataSmart.getVarFlag).
func (d *Datastore) winner(data []override) (string, bool) {
	type candidate struct{ words, name string }
	var active []candidate
	put := func(words, name string) {
		for i := range active {
			if active[i].words == words {
				active[i].name = name
				return
			}
		}
		active = append(active, candidate{words, name})
	}
	for _, o := range data {
		if d.overrides.active(o.words) {
			put(o.words, o.name)
		}
	}
	if len(active) == 0 {
		return "", false
	}
	match := ""
	for changed := true; changed; {
		changed = false
		for _, w := range d.overrides.list {
			for _, c := range slices.Clone(active) {
				switch i := slices.IndexFunc(active, func(a candidate) bool { return a.words == c.words }); {
				case i < 0:
				case strings.HasSuffix(c.words, ":"+w):
					name := active[i].name
					active = slices.Delete(active, i, i+1)
					put(strings.ReplaceAll(c.words, ":"+w, ""), name)
					changed = true
				case c.words == w:
					match = active[i].name
					active = slices.Delete(active, i, i+1)
				}
			}
		}
	}
	return match, match != ""
}
