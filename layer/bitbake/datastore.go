package bitbake

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// Datastore holds the variables of one configuration or recipe: the
// counterpart of bb.data_smart.DataSmart. Get, GetFlag and Unexpanded ask it,
// Eval and Include feed it. Not safe for concurrent use, even for asking:
// answers are cached.
type Datastore struct {
	vars   map[string]*variable
	parent *Datastore // read only; where names are found that vars lacks

	// overrideData lists, for a variable, the names that override it, in the
	// order in which they appeared ("A" -> "A:foo" with "foo"). What is not
	// here is in the parent; nil hides the parent's.
	overrideData map[string]*overrideList
	overrideVars map[string]bool // setting one of these makes OVERRIDES stale
	overrides    overrideState

	cache   map[string]*parsed
	depth   int // nesting of evaluation
	renamed map[string]string

	history map[string][]Event // what is not here is in the parent
	seq     int                // numbers the events
	where   *frame

	special special
	host    Host
	// unknownKeys are names that could not be expanded: what they may stand
	// for is unknown.
	unknownKeys []unknownKey
	fog         *unknown // an include that could be any file
	loader      *Loader
	diags       *[]diag.Diagnostic

	keepGoing bool         // errors become findings
	failed    *Error       // the first of them
	cancelled func() error // asked before each file
	steps     int          // statements evaluated
}

// special is the state that BitBake keeps in variables that are no strings.
type special struct {
	inherited []string // __inherit_cache
	deferred  []deferred
	tasks     []string // __BBTASKS
	anonymous []*Function
	handlers  []string
	read      map[string]bool // __depends: files that were read
	funcs     map[string]*Def
	modules   map[string]bool // Python names that addpylib brought
	recipe    bool            // __bbclasstype is "recipe"
}

type deferred struct {
	classes string
	stmt    *Inherit
}

// variable is the record of one name. A copy-on-write child clones it before
// the first change.
type variable struct {
	content  *text
	weak     *text // ??=
	appends  []change
	prepends []change
	removes  []change
	flags    map[string]flagValue
	mark     *unknown // something unseen may set it
	dead     bool     // deleted here: hides the parent's
}

// change is one :append, :prepend or :remove and the override words that it
// needs.
type change struct {
	text
	override string
}

type unknownKey struct {
	prefix, suffix string
	unk            *unknown
}

type flagValue struct {
	text
	list   []string // deps
	number bool     // BitBake holds an int
}

type override struct{ name, words string }

// New returns an empty datastore that reads files through l.
func New(l *Loader) *Datastore {
	return &Datastore{
		vars:         map[string]*variable{},
		overrideData: map[string]*overrideList{},
		overrideVars: map[string]bool{"OVERRIDES": true, "FILE": true},
		renamed:      maps.Clone(renamedVars),
		history:      map[string][]Event{},
		special: special{
			read: map[string]bool{}, funcs: map[string]*Def{},
			modules: map[string]bool{"bb": true, "os": true, "time": true},
		},
		loader: l,
		diags:  &[]diag.Diagnostic{},
	}
}

// renamedVars are refused by name (data_smart.bitbake_renamed_vars).
var renamedVars = map[string]string{
	"BB_ENV_WHITELIST":              "BB_ENV_PASSTHROUGH",
	"BB_ENV_EXTRAWHITE":             "BB_ENV_PASSTHROUGH_ADDITIONS",
	"BB_HASHBASE_WHITELIST":         "BB_BASEHASH_IGNORE_VARS",
	"BB_HASHCONFIG_WHITELIST":       "BB_HASHCONFIG_IGNORE_VARS",
	"BB_HASHTASK_WHITELIST":         "BB_TASKHASH_IGNORE_TASKS",
	"BB_SETSCENE_ENFORCE_WHITELIST": "BB_SETSCENE_ENFORCE_IGNORE_TASKS",
	"MULTI_PROVIDER_WHITELIST":      "BB_MULTI_PROVIDER_ALLOWED",
	"BB_STAMP_WHITELIST":            "is a deprecated variable and support has been removed",
	"BB_STAMP_POLICY":               "is a deprecated variable and support has been removed",
}

// Copy returns a datastore that starts as d and changes on its own, as a
// recipe starts from the configuration. d must not change afterwards.
func (d *Datastore) Copy() *Datastore {
	c := *d
	c.vars, c.parent = map[string]*variable{}, d
	c.overrideData = map[string]*overrideList{}
	c.overrideVars = maps.Clone(d.overrideVars)
	c.overrides = overrideState{}
	c.cache = nil
	c.history = map[string][]Event{}
	c.special.read = maps.Clone(d.special.read)
	c.special.funcs = maps.Clone(d.special.funcs)
	c.special.modules = maps.Clone(d.special.modules)
	c.special.inherited = slices.Clip(d.special.inherited)
	c.special.deferred = slices.Clone(d.special.deferred)
	c.special.tasks = slices.Clone(d.special.tasks)
	c.special.anonymous = slices.Clip(d.special.anonymous)
	c.special.handlers = slices.Clip(d.special.handlers)
	c.diags = &[]diag.Diagnostic{}
	return &c
}

// view shares everything with d except what is derived: := expands on a copy
// (ast.DataNode.eval), so it never sees stale overrides.
func (d *Datastore) view() *Datastore {
	v := *d
	v.overrides = overrideState{}
	v.cache = nil
	return &v
}

// Diagnostics lists what was found while the datastore was filled, in order.
func (d *Datastore) Diagnostics() []diag.Diagnostic { return slices.Clone(*d.diags) }

func (d *Datastore) report(sev diag.Severity, rule string, pos diag.Position, format string, args ...any) {
	if len(*d.diags) < maxDiagnostics {
		*d.diags = append(*d.diags, diag.Diagnostic{Pos: pos, Severity: sev, Rule: rule, Message: fmt.Sprintf(format, args...)})
	}
}

// find returns the record of a name for reading, nil when there is none.
func (d *Datastore) find(name string) *variable {
	for s := d; s != nil; s = s.parent {
		if v := s.vars[name]; v != nil {
			if v.dead {
				return nil
			}
			return v
		}
	}
	return nil
}

// own returns the record of a name for writing.
func (d *Datastore) own(name string) *variable {
	if v := d.vars[name]; v != nil && !v.dead {
		return v
	}
	v := &variable{}
	if d.vars[name] == nil && d.parent != nil {
		if p := d.parent.find(name); p != nil {
			*v = *p
			v.appends, v.prepends, v.removes = slices.Clip(p.appends), slices.Clip(p.prepends), slices.Clip(p.removes)
			v.flags = maps.Clone(p.flags)
		}
	}
	d.vars[name] = v
	return v
}

func (d *Datastore) forget() { d.cache = nil }

// setMode says on whose behalf a variable is set.
type setMode uint8

const (
	parsing setMode = iota // a statement of a file: operations on the variable stay
	plain                  // python's d.setVar: they go
)

// splitKeyword cuts a name at its first :append, :prepend or :remove that is
// followed by the end or by override words without capitals, as
// data_smart.__setvar_regexp__ does.
func splitKeyword(name string) (base, keyword, words string, ok bool) {
	at := 0
	for {
		i := strings.IndexByte(name[at:], ':')
		if i < 0 {
			return "", "", "", false
		}
		at += i
		for _, k := range []string{":append", ":prepend", ":remove"} {
			rest, found := strings.CutPrefix(name[at:], k)
			if !found {
				continue
			}
			if rest == "" {
				return name[:at], k, "", true
			}
			if rest[0] == ':' && strings.IndexFunc(rest[1:], func(r rune) bool { return r >= 'A' && r <= 'Z' }) < 0 {
				return name[:at], k, rest[1:], true
			}
		}
		at++
	}
}

// set is DataSmart.setVar.
func (d *Datastore) set(name string, val text, mode setMode, ev Event) error {
	if oldSyntax(name) {
		return d.errorAt(ev, "BBHandledException", "%s uses the old override syntax with an underscore: write :append, :prepend or :remove", name)
	}
	d.checkRenamed(name, ev)
	d.forget()
	if ev.Name == "" {
		ev.Name = name
	}
	if base, keyword, words, ok := splitKeyword(name); ok {
		return d.change(name, base, keyword, words, val, ev)
	}
	v := d.own(name)
	if mode == plain {
		if err := d.wipe(name, v); err != nil {
			return err
		}
	}
	if strings.IndexByte(name, ':') >= 0 {
		d.addOverride(name)
	}
	v.content = &val
	d.record(name, ev)
	if d.overrideVars[name] {
		return d.overridesChanged(name, val)
	}
	return nil
}

func oldSyntax(name string) bool {
	return strings.IndexByte(name, '_') >= 0 && !strings.HasPrefix(name, "__anon_") &&
		(strings.Contains(name, "_append") || strings.Contains(name, "_prepend") || strings.Contains(name, "_remove"))
}

func (d *Datastore) checkRenamed(name string, ev Event) {
	short, _, _ := strings.Cut(name, ":")
	to, ok := d.renamed[short]
	if !ok {
		return
	}
	msg := short + " has been renamed to " + to
	if strings.Contains(to, " ") {
		msg = short + " " + to
	}
	d.report(diag.Error, RuleParse, ev.Pos, "%s", msg)
	v := d.own("_FAILPARSINGERRORHANDLED")
	v.content = &text{s: "True"}
}

// change records an :append, :prepend or :remove on its base.
func (d *Datastore) change(name, base, keyword, words string, val text, ev Event) error {
	c := change{val, words}
	v := d.own(base)
	switch keyword {
	case ":append":
		v.appends = append(v.appends, c)
	case ":prepend":
		v.prepends = append(v.prepends, c)
	default:
		v.removes = append(v.removes, c)
	}
	ev.Keyword, ev.Overrides = keyword, words
	d.record(base, ev)
	d.addOverride(base)
	if d.overrideVars[base] {
		return d.overridesChanged(name, val)
	}
	return nil
}

// wipe is what python's setVar does first: operations go, and so do the
// overrides that are active now.
func (d *Datastore) wipe(name string, v *variable) error {
	v.appends, v.prepends, v.removes = nil, nil, nil
	data, ok := d.overriding(name)
	if !ok {
		return nil
	}
	if err := d.needOverrides(); err != nil {
		return err
	}
	for _, o := range data {
		if d.overrides.active(o.words) {
			d.remove(o.name, Event{Op: "del", Internal: true})
		}
	}
	d.overrideData[name] = nil
	return nil
}

// remove is DataSmart.delVar.
func (d *Datastore) remove(name string, ev Event) {
	d.forget()
	d.record(name, ev)
	d.vars[name] = &variable{dead: true}
	if _, ok := d.overriding(name); ok {
		d.overrideData[name] = nil
	}
	if strings.IndexByte(name, ':') >= 0 {
		d.dropOverride(name)
	}
}

// setFlag is DataSmart.setVarFlag. The pseudo flags _content and _defaultval
// are the value and the weak default.
func (d *Datastore) setFlag(name, flag string, val flagValue, ev Event) error {
	d.forget()
	if name == "BB_RENAMED_VARIABLES" {
		d.renamed = maps.Clone(d.renamed)
		d.renamed[flag] = val.s
	}
	if _, ok := d.renamed[name]; ok {
		d.checkRenamed(name, ev)
	}
	ev.Flag = flag
	d.record(name, ev)
	v := d.own(name)
	switch flag {
	case "_content":
		v.content = &val.text
	case "_defaultval":
		v.weak = &val.text
		if strings.IndexByte(name, ':') >= 0 {
			d.addOverride(name)
		}
		if d.overrideVars[name] {
			return d.overridesChanged(name, val.text)
		}
	default:
		if v.flags == nil {
			v.flags = map[string]flagValue{}
		}
		v.flags[flag] = val
	}
	return nil
}

// removeFlag is DataSmart.delVarFlag.
func (d *Datastore) removeFlag(name, flag string, ev Event) {
	d.forget()
	if d.find(name) == nil {
		return
	}
	v := d.own(name)
	ev.Flag = flag
	switch flag {
	case "_content":
		if v.content == nil {
			return
		}
		v.content = nil
	case "_defaultval":
		if v.weak == nil {
			return
		}
		v.weak = nil
	default:
		if _, ok := v.flags[flag]; !ok {
			return
		}
		delete(v.flags, flag)
	}
	d.record(name, ev)
}

// flag is getVarFlag without expansion.
func (d *Datastore) flag(name, flag string) (flagValue, bool) {
	v := d.find(name)
	if v == nil {
		return flagValue{}, false
	}
	switch flag {
	case "_content":
		if v.content == nil {
			return flagValue{}, false
		}
		return flagValue{text: *v.content}, true
	case "_defaultval":
		if v.weak == nil {
			return flagValue{}, false
		}
		return flagValue{text: *v.weak}, true
	}
	f, ok := v.flags[flag]
	return f, ok
}

func (d *Datastore) errorAt(ev Event, kind, format string, args ...any) *Error {
	return &Error{Type: kind, Msg: fmt.Sprintf(format, args...), Pos: ev.Pos}
}
