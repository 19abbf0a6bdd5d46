package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

func weakDefault() *Rule {
	r := &Rule{
		ID: "weak-default-clobber", Severity: diag.Error, Fixable: true,
		Summary: "+= on a variable whose value is a ??= default throws the default away",
		Why: "`+=`, `=+`, `.=` and `=.` add to the value that is there at once, and a weak default (`??=`) is " +
			"never there: BitBake takes it at the very end, and only when nothing else made a value. So the one " +
			"word that was to be added becomes the whole value, wherever the default stands: in a class that " +
			"comes in by INHERIT, in the same file, in a file that is read later. The rule looks at the evaluated " +
			"variable: a later `=` or an empty default makes the statement harmless, and then it is silent.",
		Fix:   "Write `:append` with a blank in front of the word (`:prepend` with one behind it for `=+`).",
		needs: needsDefault,
	}
	r.config = func(p *Pass) { lostDefaults(p, bitbake.Lost) }
	r.recipe = r.config
	return r
}

func lateDefault() *Rule {
	r := &Rule{
		ID: "late-default", Severity: diag.Warning, Fixable: true,
		Summary: "a ?= that comes too late to take effect",
		Why: "`?=` sets a variable that has no value yet. After a `+=` there is one, so the default is lost as " +
			"with `??=`; after a `=` or `?=` of the same file it can never take effect at all.",
		Fix:   "Turn the earlier `+=` into `:append`, or remove the `?=` that does nothing.",
		needs: needsDefault,
	}
	r.config = func(p *Pass) { lostDefaults(p, bitbake.Ignored) }
	r.recipe = r.config
	r.file = deadDefaults
	return r
}

// needsDefault picks statements that add to a variable that has a default
// somewhere.
func needsDefault(x *index, a *bitbake.Assign) bool {
	return a.Flag == "" && additive(a.Op) && x.defaults[a.Name]
}

// completed is the one variable whose default comes back: kernel.bbclass adds
// KERNEL_IMAGETYPE to it in Python.
const completed = "KERNEL_IMAGETYPES"

// lostDefaults finds variables whose value began with += and that have a
// default which is lost for that reason.
func lostDefaults(p *Pass, how bitbake.Effect) {
	for name := range p.index.defaults {
		if name == completed {
			continue
		}
		if !slices.ContainsFunc(p.D.History(name), bitbake.Event.Additive) {
			continue
		}
		story := p.D.Explain(name)
		for _, st := range story.Steps {
			if st.Effect != how || st.Name != name || st.By == nil || !st.By.Additive() || st.Flag != "" && !st.Weak() {
				continue
			}
			reportLost(p, story, st)
		}
	}
}

func reportLost(p *Pass, story *bitbake.Story, def bitbake.Step) {
	val, err := p.D.Expand(def.Operand)
	if err != nil || !val.Known || story.Err != nil || !story.Value.Known {
		return
	}
	now := strings.Fields(story.Value.Text)
	var lost []string
	for w := range strings.FieldsSeq(val.Text) {
		if !slices.Contains(now, w) {
			lost = append(lost, w)
		}
	}
	then, ok := valueWith(p.D, story, val.Text)
	lost = slices.DeleteFunc(lost, func(w string) bool { return !slices.Contains(then, w) })
	if len(lost) == 0 || !ok {
		return
	}
	for _, st := range story.Steps {
		a, ok := st.Stmt.(*bitbake.Assign)
		if !ok || !st.Additive() || st.Effect != bitbake.Applied || st.Name != def.Name {
			continue
		}
		d := found(a.File, bitbake.Span{Start: a.NameSpan.Start, End: a.OpSpan.End},
			"%s %s drops the default %s", a.Name, a.Op, quoteWords(lost))
		d.Hint = fmt.Sprintf("%s: %s is %s; with %s it would be %s", p.where(), a.Name, quoteWords(now), lazyName(a), quoteWords(then))
		d.Related = []diag.Related{{Pos: def.Pos, Message: "the default that is lost" + viaText(p.Project, def.Event)}}
		d.Fix = lazyFix(a)
		fallback := how(def) == bitbake.OpDefault && strings.HasSuffix(def.Pos.File, "/conf/bitbake.conf")
		switch {
		case !fallback:
			p.report(d)
		case isLocal(a.File.Name):
			// bitbake.conf's ?= are for those who say nothing: machines add
			// to IMAGE_FSTYPES with += all over the world and mean "set".
			p.report(d)
			p.out[len(p.out)-1].Severity = diag.Note
		}
	}
}

// how is the operator that a default was given with.
func how(def bitbake.Step) bitbake.Op {
	if def.Weak() {
		return bitbake.OpWeak
	}
	return bitbake.OpDefault
}

// viaText says how a file came into the configuration.
func viaText(p *Project, e bitbake.Event) string {
	if len(e.Via) == 0 || e.Via[0].Pos.File == "" {
		return ""
	}
	v := e.Via[0]
	pos := p.host(v.Pos)
	pos.File = p.Name(pos.File)
	return fmt.Sprintf(" (%s by %s)", pastVerb(v.Verb), pos)
}

func pastVerb(verb string) string {
	switch verb {
	case "inherit", "INHERIT", "inherit_defer":
		return "inherited"
	}
	return "included"
}

// quoteWords shows a list; a long one is cut.
func quoteWords(words []string) string {
	const most = 12
	tail := ""
	if n := len(words); n > most {
		words, tail = words[:most], fmt.Sprintf(" … (%d words)", n)
	}
	return `"` + strings.Join(words, " ") + `"` + tail
}

// valueWith works out the words that the variable would have if its += were
// :append and the default counted.
func valueWith(d *bitbake.Datastore, story *bitbake.Story, def string) (words []string, ok bool) {
	text := def
	removed := map[string]bool{}
	for _, st := range story.Steps {
		// A :remove that takes out nothing now may have something to take then.
		if st.Effect != bitbake.Applied && st.Effect != bitbake.Removed && st.Effect != bitbake.Useless {
			continue
		}
		if st.Keyword == "" && !st.Additive() {
			continue
		}
		v, err := d.Expand(st.Operand)
		if err != nil || !v.Known {
			return nil, false
		}
		switch {
		case st.Keyword == ":remove":
			for w := range strings.FieldsSeq(v.Text) {
				removed[w] = true
			}
		case st.Op == "prepend":
			text = v.Text + " " + text
		case st.Op == "append":
			text += " " + v.Text
		case st.Keyword == ":prepend" || st.Op == "predot":
			text = v.Text + text
		default:
			text += v.Text
		}
	}
	return slices.DeleteFunc(strings.Fields(text), func(w string) bool { return removed[w] }), true
}

// lazyName is the name with the keyword that stands for the operator.
func lazyName(a *bitbake.Assign) string {
	if a.Op == bitbake.OpPrepend || a.Op == bitbake.OpPredot {
		return ":prepend"
	}
	return ":append"
}

// lazyFix rewrites A += "x" to A:append = " x" and keeps everything else as it
// stands.
func lazyFix(a *bitbake.Assign) *diag.Fix {
	key := lazyName(a)
	f := a.File
	edits := []diag.Edit{
		edit(f, bitbake.Span{Start: a.NameSpan.End, End: a.NameSpan.End}, key),
		edit(f, a.OpSpan, "="),
	}
	if f.Text(bitbake.Span{Start: a.NameSpan.End, End: a.OpSpan.Start}) == "" {
		edits[1].Text = " ="
	}
	edits = append(edits, blank(a, key)...)
	return &diag.Fix{Message: "use " + key, Edits: edits}
}

// blank adds the blank that :append wants in front and :prepend behind.
func blank(a *bitbake.Assign, key string) []diag.Edit {
	at, has := a.ValueSpan.Start, strings.TrimLeft(a.Value, " \t\n") != a.Value
	if key == ":prepend" {
		at, has = a.ValueSpan.End, strings.TrimRight(a.Value, " \t\n") != a.Value
	}
	if has || a.Value == "" || a.Op == bitbake.OpPostdot || a.Op == bitbake.OpPredot {
		return nil
	}
	return []diag.Edit{edit(a.File, bitbake.Span{Start: at, End: at}, " ")}
}

// deadDefaults finds a ?= below another statement of the same file that has
// set the variable already.
func deadDefaults(p *Pass, f *bitbake.File) {
	set := map[string]*bitbake.Assign{}
	for _, s := range f.Stmts {
		switch s := s.(type) {
		case *bitbake.Unset:
			delete(set, s.Name)
		case *bitbake.Assign:
			if s.Flag != "" || keyword(strings.Split(s.Name, ":")) != "" || strings.Contains(s.Name, "${") {
				continue
			}
			first := set[s.Name]
			if s.Op == bitbake.OpDefault && first != nil && !additive(first.Op) {
				pos, _ := at(f, first.NameSpan)
				d := found(f, bitbake.Span{Start: s.NameSpan.Start, End: s.OpSpan.End},
					"%s ?= never takes effect: %s is set above", s.Name, s.Name)
				d.Related = []diag.Related{{Pos: pos, Message: "set here, with " + first.Op.String()}}
				p.report(d)
			}
			if s.Op != bitbake.OpWeak && first == nil {
				set[s.Name] = s
			}
		}
	}
}
