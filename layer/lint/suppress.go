package lint

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

func suppression() *Rule {
	return &Rule{
		ID: RuleSuppression, Severity: diag.Warning,
		Summary: "a suppression that is not used, or gives no reason",
		Why: "`# pvkit: disable=RULE reason` turns a rule off for the statement below it, " +
			"`# pvkit: disable-file=RULE reason` for a file. One that hides nothing outlives its cause, " +
			"and one without a reason cannot be judged.",
		Fix: "Remove the comment, or write behind the rule why it does not apply.",
	}
}

var disable = regexp.MustCompile(`#\s*pvkit:\s*disable(-file)?=([\w,-]+)[ \t]*(.*)$`)

// silence is a suppression comment.
type silence struct {
	pos        diag.Position
	rules      []string
	from, to   int // lines
	used       bool
	wantReason bool
}

// suppress takes out what comments turn off, and reports comments that turn
// nothing off. Files without findings are looked at, too.
func (r *runner) suppress(ds []diag.Diagnostic) []diag.Diagnostic {
	byFile := map[string][]*silence{}
	for _, name := range r.p.editable() {
		if s, err := r.p.source(name); err == nil && strings.Contains(s.text, "pvkit:") {
			byFile[name] = silences(s)
		}
	}
	out := slices.DeleteFunc(ds, func(d diag.Diagnostic) bool {
		hidden := false
		for _, s := range byFile[d.Pos.File] {
			if slices.Contains(s.rules, d.Rule) && d.Pos.Line >= s.from && d.Pos.Line <= s.to {
				s.used, hidden = true, true
			}
		}
		return hidden
	})
	i := slices.IndexFunc(r.rules, func(rule *Rule) bool { return rule.ID == RuleSuppression })
	if i < 0 {
		return out
	}
	for name, list := range byFile {
		if !r.p.mine(name) {
			continue
		}
		for _, s := range list {
			d := diag.Diagnostic{Pos: s.pos, Severity: r.rules[i].Severity, Rule: RuleSuppression}
			switch {
			case !s.used:
				d.Message = "nothing here is found by " + strings.Join(s.rules, ", ") + ": the suppression is not used"
			case s.wantReason:
				d.Message = "the suppression of " + strings.Join(s.rules, ", ") + " gives no reason"
			default:
				continue
			}
			out = append(out, d)
		}
	}
	return out
}

// editable lists the files that findings can be in.
func (p *Project) editable() []string {
	names := append(slices.Clone(p.files), p.buildFiles()...)
	for _, k := range p.kas {
		names = append(names, k.src.name)
	}
	for _, m := range p.kconfigs {
		for _, f := range m.tree.Files {
			names = append(names, path.Join(m.dir, f))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// silences reads the suppression comments of a file. A comment covers the
// rest of its line when there is something in front, else the next statement
// with its continuation lines.
func silences(s *source) []*silence {
	var out []*silence
	for n := 1; n <= len(s.lines); n++ {
		line := s.line(n)
		m := disable.FindStringSubmatchIndex(line)
		if m == nil {
			continue
		}
		x := &silence{
			pos: diag.Position{File: s.name, Line: n, Col: m[0] + 1}, from: n, to: n,
			rules: strings.Split(line[m[4]:m[5]], ","), wantReason: strings.TrimSpace(line[m[6]:m[7]]) == "",
		}
		switch {
		case m[2] >= 0:
			x.from, x.to = 1, len(s.lines)
		case strings.TrimSpace(line[:m[0]]) == "":
			x.from = n + 1
			for x.from < len(s.lines) && blankOrComment(s.line(x.from)) {
				x.from++
			}
			x.to = x.from
			for x.to < len(s.lines) && strings.HasSuffix(s.line(x.to), "\\") {
				x.to++
			}
		}
		out = append(out, x)
	}
	return out
}

func blankOrComment(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || line[0] == '#'
}
