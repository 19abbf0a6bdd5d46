package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/lint"
)

// findings are what a run of the linter found, with the projects that know
// the source text.
type findings struct {
	projects []*lint.Project
	list     []diag.Diagnostic
}

// text is the content of a file.
func (f *findings) text(file string) string {
	for _, p := range f.projects {
		if t := p.Text(file); t != "" {
			return t
		}
	}
	return ""
}

func (f *findings) line(file string, n int) string {
	for _, p := range f.projects {
		if l := p.Line(file, n); l != "" {
			return l
		}
	}
	return ""
}

// reporter writes findings in one format.
type reporter func(w io.Writer, f *findings) error

func newReporter(o *lintOptions) (reporter, error) {
	switch o.format {
	case "text":
		return reportText, nil
	case "oneline":
		return reportOneline, nil
	case "json":
		return reportJSON, nil
	case "jsonl":
		return reportJSONLines, nil
	case "sarif":
		return reportSARIF, nil
	case "github":
		return reportGitHub, nil
	case "junit":
		return reportJUnit, nil
	case "template":
		return templateReporter(o.template)
	}
	return nil, fmt.Errorf("--format %s: want text, oneline, json, jsonl, sarif, github, junit or template", o.format)
}

func oneline(d diag.Diagnostic) string {
	d.Pos.File = shortName(d.Pos.File)
	msg := d.Message
	if d.Severity == diag.Note {
		msg = "note: " + msg
	}
	return fmt.Sprintf("%s: %s [%s]", d.Pos, msg, d.Rule)
}

func reportOneline(w io.Writer, f *findings) error {
	for _, d := range f.list {
		if _, err := fmt.Fprintln(w, oneline(d)); err != nil {
			return err
		}
	}
	return nil
}

func reportText(w io.Writer, f *findings) error {
	var b strings.Builder
	for _, d := range f.list {
		b.WriteString(oneline(d) + "\n")
		f.snippet(&b, d)
		for _, r := range d.Related {
			pos := r.Pos
			pos.File = shortName(pos.File)
			fmt.Fprintf(&b, "      = %s: %s\n", pos, r.Message)
		}
		if d.Hint != "" {
			fmt.Fprintf(&b, "      = %s\n", d.Hint)
		}
		if d.Fix != nil {
			fmt.Fprintf(&b, "      = --fix can mend this: %s\n", d.Fix.Message)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// snippet shows the source line with the place marked below.
func (f *findings) snippet(b *strings.Builder, d diag.Diagnostic) {
	src := f.line(d.Pos.File, d.Pos.Line)
	if src == "" || d.Pos.Col < 1 {
		return
	}
	from := min(d.Pos.Col-1, len(src))
	to := from + 1
	if d.End.Line == d.Pos.Line && d.End.Col > d.Pos.Col {
		to = min(d.End.Col-1, len(src))
	} else if d.End.Line > d.Pos.Line {
		to = len(src)
	}
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, src[:from])
	mark := "^" + strings.Repeat("~", max(utf8.RuneCountInString(src[from:max(to, from)])-1, 0))
	fmt.Fprintf(b, "%5d | %s\n      | %s%s\n", d.Pos.Line, visible(src), pad, mark)
}

// visible replaces control characters, which a terminal would obey.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}

// record is a finding in the JSON formats and for templates.
type record struct {
	File      string    `json:"file"`
	Line      int       `json:"line"`
	Column    int       `json:"column"`
	EndLine   int       `json:"endLine,omitempty"`
	EndColumn int       `json:"endColumn,omitempty"`
	Severity  string    `json:"severity"`
	Rule      string    `json:"rule"`
	Message   string    `json:"message"`
	Hint      string    `json:"hint,omitempty"`
	Source    string    `json:"source,omitempty"`
	Related   []related `json:"related,omitempty"`
	Fixable   bool      `json:"fixable"`
	Fix       *diag.Fix `json:"fix,omitempty"`
}

type related struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

func (f *findings) records() []record {
	out := []record{}
	for _, d := range f.list {
		r := record{
			File: shortName(d.Pos.File), Line: d.Pos.Line, Column: d.Pos.Col, EndLine: d.End.Line, EndColumn: d.End.Col,
			Severity: d.Severity.String(), Rule: d.Rule, Message: d.Message, Hint: d.Hint,
			Source: f.line(d.Pos.File, d.Pos.Line), Fixable: d.Fix != nil,
		}
		for _, rel := range d.Related {
			r.Related = append(r.Related, related{shortName(rel.Pos.File), rel.Pos.Line, rel.Pos.Col, rel.Message})
		}
		if d.Fix != nil {
			fix := &diag.Fix{Message: d.Fix.Message, Edits: slices.Clone(d.Fix.Edits)}
			for i := range fix.Edits {
				fix.Edits[i].File = shortName(fix.Edits[i].File)
			}
			r.Fix = fix
		}
		out = append(out, r)
	}
	return out
}

func encoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

func reportJSON(w io.Writer, f *findings) error {
	e := encoder(w)
	e.SetIndent("", "  ")
	return e.Encode(f.records())
}

func reportJSONLines(w io.Writer, f *findings) error {
	e := encoder(w)
	for _, r := range f.records() {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// templateReporter runs a Go template over the findings; "json" is there as a
// function.
func templateReporter(text string) (reporter, error) {
	t, err := template.New("--template").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			var b bytes.Buffer
			err := encoder(&b).Encode(v)
			return strings.TrimSuffix(b.String(), "\n"), err
		},
	}).Parse(text)
	if err != nil {
		return nil, err
	}
	return func(w io.Writer, f *findings) error { return t.Execute(w, f.records()) }, nil
}
