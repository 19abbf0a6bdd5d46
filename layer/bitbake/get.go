package bitbake

import (
	"maps"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// Get returns the final value of a variable: overrides chosen, operations
// done, expanded, words removed. ok is false where BitBake's getVar returns
// None. The error is an *Error: a self reference, Python that raises.
func (d *Datastore) Get(name string) (v Value, ok bool, err error) {
	t, ok, err := d.getMaybe(name)
	return d.answer(t), ok, err
}

// answer turns an inner text into an answer. After an include that could be
// any file nothing is certain.
func (d *Datastore) answer(t text) Value {
	t.unk = merge(t.unk, d.fog)
	return t.value()
}

// Unexpanded is Get with ${...} left in place and nothing removed, as
// getVar(name, False).
func (d *Datastore) Unexpanded(name string) (v Value, ok bool, err error) {
	t, ok, _, err := d.content(name, false, false)
	return d.answer(t), ok, err
}

// GetFlag returns a flag as it was set; Expand expands it. A list (deps) is
// joined by blanks.
func (d *Datastore) GetFlag(name, flag string) (v Value, ok bool) {
	f, ok := d.flag(name, flag)
	if f.list != nil {
		f.s = strings.Join(f.list, " ")
	}
	return d.answer(f.text), ok
}

// Flags lists the flags of a variable that a file or BitBake set, sorted; the
// internal ones that begin with "_" are left out.
func (d *Datastore) Flags(name string) []string {
	v := d.find(name)
	if v == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(v.flags)), func(f string) bool { return strings.HasPrefix(f, "_") })
}

// Expand expands a text with the variables of d.
func (d *Datastore) Expand(s string) (Value, error) {
	t, err := d.expand(text{s: s}, "", nil)
	return d.answer(t), err
}

// Words returns the words of a variable's value, and whether it is known.
func (d *Datastore) Words(name string) ([]string, bool) {
	v, _, err := d.Get(name)
	return pyexpr.Split(v.Text), v.Known && err == nil
}

// Names lists the variables that exist, sorted: those with a value, a weak
// default, flags or operations, under their full names.
func (d *Datastore) Names() []string {
	seen := map[string]bool{}
	for s := d; s != nil; s = s.parent {
		for n, v := range s.vars {
			if _, ok := seen[n]; !ok {
				seen[n] = !v.dead && !v.empty()
			}
		}
	}
	maps.DeleteFunc(seen, func(_ string, live bool) bool { return !live })
	return slices.Sorted(maps.Keys(seen))
}

func (v *variable) empty() bool {
	return v.content == nil && v.weak == nil && v.mark == nil && len(v.appends)+len(v.prepends)+len(v.removes)+len(v.flags) == 0
}

// Overrides returns the words of OVERRIDES, weakest first, and whether they
// are known.
func (d *Datastore) Overrides() ([]string, bool) {
	err := d.needOverrides()
	return slices.Clone(d.overrides.list), err == nil && d.overrides.unknown == nil
}

// get is getVar with "" for None.
func (d *Datastore) get(name string) (text, error) {
	t, _, err := d.getMaybe(name)
	return t, err
}

// getMaybe is getVar(name).
func (d *Datastore) getMaybe(name string) (text, bool, error) {
	if p := d.cache[name]; p != nil {
		return p.value, !p.none, nil
	}
	_, _, p, err := d.content(name, true, false)
	if err != nil {
		return text{}, false, err
	}
	return p.value, !p.none, nil
}

// raw is the value that += and ?= see: no weak default, no overrides, no
// operations.
func (d *Datastore) raw(name string) (text, bool) {
	if v := d.find(name); v != nil && v.content != nil {
		return *v.content, true
	}
	return text{}, false
}

// content is DataSmart.getVarFlag(name, "_content"). Without expand and
// forWinner the text is returned as it is and p is nil; with one of them p
// holds both forms. forWinner asks for the value of an overriding variable.
func (d *Datastore) content(name string, expand, forWinner bool) (t text, ok bool, p *parsed, err error) {
	if expand || forWinner {
		if p := d.cache[name]; p != nil {
			return p.raw, !p.none, p, nil
		}
	}
	if d.depth++; d.depth > maxNesting {
		d.depth--
		return text{}, false, nil, &Error{Type: "RecursionError", Msg: name + ": variables refer to each other without end", Err: &LimitError{"nesting of variables", maxNesting}}
	}
	defer func() { d.depth-- }()

	v := d.find(name)
	t, ok, removes, err := d.unexpanded(name, v)
	if err != nil {
		return text{}, false, nil, err
	}
	if !expand && !forWinner {
		return t, ok, nil, nil
	}
	p = &parsed{raw: t, value: t, none: !ok}
	if ok {
		if p.value, err = d.expand(t, name, nil); err != nil {
			return text{}, false, nil, err
		}
	}
	test := p.value.s
	if !expand {
		test = t.s
	}
	if test != "" {
		if err := d.removeWords(v, p, removes); err != nil {
			return text{}, false, nil, err
		}
	}
	if d.cache == nil {
		d.cache = map[string]*parsed{}
	}
	d.cache[name] = p
	return t, ok, p, nil
}

// unexpanded is the value with overrides chosen and operations done. The
// texts are :remove lists that go on to the result.
func (d *Datastore) unexpanded(name string, v *variable) (t text, ok bool, removes []text, err error) {
	if data, has := d.overriding(name); has {
		if t, ok, removes, err = d.overridden(name, data); err != nil {
			return text{}, false, nil, err
		}
	}
	if !ok && v != nil {
		switch {
		case v.content != nil:
			t, ok = merged(*v.content, t.unk), true
		case v.weak != nil:
			t, ok = merged(*v.weak, t.unk), true
		}
	}
	if v != nil {
		if t, ok, err = d.operate(v, t, ok); err != nil {
			return text{}, false, nil, err
		}
		t.unk = merge(t.unk, v.mark)
	}
	for _, k := range d.unknownKeys {
		if len(name) >= len(k.prefix)+len(k.suffix) && strings.HasPrefix(name, k.prefix) && strings.HasSuffix(name, k.suffix) {
			t.unk = merge(t.unk, k.unk)
		}
	}
	return t, ok, removes, nil
}

func merged(t text, unk *unknown) text {
	t.unk = merge(t.unk, unk)
	return t
}

// overridden returns the value of the variable that overrides name, if one
// does, and the :remove texts that took something out of it: they apply to
// the result once more.
func (d *Datastore) overridden(name string, data []override) (text, bool, []text, error) {
	if err := d.needOverrides(); err != nil {
		return text{}, false, nil, err
	}
	if !d.overrides.known { // an earlier failure left it half done
		return text{}, false, nil, &Error{Type: "TypeError", Msg: name + ": OVERRIDES could not be worked out"}
	}
	// An override whose words are all known to be active is sure; one that the
	// unknown part of OVERRIDES may bring in is not.
	var doubt *unknown
	for _, o := range data {
		if !d.overrides.active(o.words) {
			doubt = d.overrides.unknown
		}
	}
	win, found := d.winner(data)
	if !found {
		return text{unk: doubt}, false, nil, nil
	}
	t, ok, p, err := d.content(win, false, true)
	if err != nil {
		return text{}, false, nil, err
	}
	t.unk = merge(t.unk, doubt)
	var removes []text
	for _, r := range slices.Sorted(maps.Keys(p.removed)) {
		removes = append(removes, text{s: r})
	}
	return t, ok, removes, nil
}

// operate applies the appends in the order of their statements, then the
// prepends.
func (d *Datastore) operate(v *variable, t text, ok bool) (text, bool, error) {
	if len(v.appends)+len(v.prepends) == 0 {
		return t, ok, nil
	}
	if err := d.needOverrides(); err != nil {
		return text{}, false, err
	}
	size := len(t.s)
	collect := func(changes []change) ([]string, error) {
		var parts []string
		for _, c := range changes {
			if c.override != "" && !d.overrides.known {
				return nil, &Error{Type: "TypeError", Msg: "OVERRIDES could not be worked out"}
			}
			if !d.overrides.listed(c.override) {
				t.unk = merge(t.unk, d.overrides.unknown)
				continue
			}
			if size += len(c.s); size > maxText {
				return nil, &Error{Type: "LimitError", Msg: "a value is too large", Err: &LimitError{"size of a value", maxText}}
			}
			ok = true
			t.unk = merge(t.unk, c.unk)
			parts = append(parts, c.s)
		}
		return parts, nil
	}
	after, err := collect(v.appends)
	if err != nil {
		return text{}, false, err
	}
	before, err := collect(v.prepends)
	if err != nil {
		return text{}, false, err
	}
	if len(after)+len(before) == 0 {
		return t, ok, nil
	}
	slices.Reverse(before)
	var b strings.Builder
	b.Grow(size)
	for _, s := range before {
		b.WriteString(s)
	}
	b.WriteString(t.s)
	for _, s := range after {
		b.WriteString(s)
	}
	t.s = b.String()
	return t, ok, nil
}

// removeWords takes out the words of the :remove texts. White space stays
// where it was: the value is split at single blanks.
func (d *Datastore) removeWords(v *variable, p *parsed, removes []text) error {
	if v != nil && len(v.removes) > 0 {
		if err := d.needOverrides(); err != nil {
			return err
		}
		for _, r := range v.removes {
			if d.overrides.listed(r.override) {
				removes = append(removes, r.text)
			} else {
				p.value.unk = merge(p.value.unk, d.overrides.unknown)
			}
		}
	}
	if len(removes) == 0 {
		return nil
	}
	drop := map[string][]string{} // word -> the texts that remove it
	for _, r := range removes {
		t, err := d.expand(r, "", nil)
		if err != nil {
			return err
		}
		p.value.unk = merge(p.value.unk, t.unk)
		for _, w := range pyexpr.Split(t.s) {
			drop[w] = append(drop[w], r.s)
		}
	}
	p.removed = map[string]bool{}
	if len(drop) == 0 {
		return nil
	}
	var b strings.Builder
	s := p.value.s
	for {
		i := strings.IndexFunc(s, pyexpr.IsSpace)
		word := s
		if i >= 0 {
			word = s[:i]
		}
		if by, hit := drop[word]; hit && word != "" {
			for _, r := range by {
				p.removed[r] = true
			}
		} else {
			b.WriteString(word)
		}
		if i < 0 {
			break
		}
		next := i + 1
		for next < len(s) && s[next]&0xC0 == 0x80 {
			next++
		}
		b.WriteString(s[i:next])
		s = s[next:]
	}
	p.value.s = b.String()
	return nil
}
