package cli

import (
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/lint"
)

// The parts of SARIF 2.1.0 (OASIS sarif-v2.1.0-os) that a finding needs. The
// numbers in the comments are sections of the specification.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct { // 3.14
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct { // 3.19
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Version        string      `json:"semanticVersion,omitempty"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct { // 3.49
		ID       string       `json:"id"`
		Short    sarifText    `json:"shortDescription"`
		Full     sarifText    `json:"fullDescription"`
		Help     sarifText    `json:"help"`
		Defaults sarifDefault `json:"defaultConfiguration"`
	}
	sarifDefault struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct { // 3.27
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
		Related   []sarifLocation `json:"relatedLocations,omitempty"`
		Fixes     []sarifFix      `json:"fixes,omitempty"`
	}
	sarifLocation struct { // 3.28
		Physical sarifPhysical `json:"physicalLocation"`
		Message  *sarifText    `json:"message,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct { // 3.30
		StartLine   int        `json:"startLine"`
		StartColumn int        `json:"startColumn,omitempty"`
		EndLine     int        `json:"endLine,omitempty"`
		EndColumn   int        `json:"endColumn,omitempty"`
		Snippet     *sarifText `json:"snippet,omitempty"`
	}
	sarifFix struct { // 3.55
		Description sarifText     `json:"description"`
		Changes     []sarifChange `json:"artifactChanges"`
	}
	sarifChange struct {
		Artifact     sarifArtifact      `json:"artifactLocation"`
		Replacements []sarifReplacement `json:"replacements"`
	}
	sarifReplacement struct {
		Deleted  sarifRegion `json:"deletedRegion"`
		Inserted *sarifText  `json:"insertedContent,omitempty"`
	}
)

var sarifLevels = map[diag.Severity]string{diag.Error: "error", diag.Warning: "warning", diag.Note: "note"}

func reportSARIF(w io.Writer, f *findings) error {
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "pvkit", InformationURI: "https://github.com/pvkit/pvkit"}
	run.Tool.Driver.Rules = []sarifRule{}
	index := map[string]int{}
	for _, r := range lint.Rules() {
		if !slices.ContainsFunc(f.list, func(d diag.Diagnostic) bool { return d.Rule == r.ID }) {
			continue
		}
		index[r.ID] = len(index)
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: r.ID, Short: sarifText{r.Summary}, Full: sarifText{strings.ReplaceAll(r.Why, "`", "")},
			Help: sarifText{strings.ReplaceAll(r.Fix, "`", "")}, Defaults: sarifDefault{sarifLevels[r.Severity]},
		})
	}
	for _, d := range f.list {
		text := d.Message
		if d.Hint != "" {
			text += "\n" + d.Hint
		}
		res := sarifResult{
			RuleID: d.Rule, RuleIndex: index[d.Rule], Level: sarifLevels[d.Severity], Message: sarifText{text},
			Locations: []sarifLocation{f.location(d.Pos, d.End, "")},
		}
		for _, r := range d.Related {
			res.Related = append(res.Related, f.location(r.Pos, diag.Position{}, r.Message))
		}
		if d.Fix != nil {
			res.Fixes = []sarifFix{f.sarifFix(d.Fix)}
		}
		run.Results = append(run.Results, res)
	}
	e := encoder(w)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0", Runs: []sarifRun{run},
	})
}

func artifact(file string) sarifArtifact {
	u := url.URL{Path: filepath.ToSlash(shortName(file))}
	if filepath.IsAbs(u.Path) {
		u.Scheme = "file"
	}
	return sarifArtifact{u.String()}
}

func (f *findings) location(pos, end diag.Position, message string) sarifLocation {
	l := sarifLocation{Physical: sarifPhysical{Artifact: artifact(pos.File)}}
	if message != "" {
		l.Message = &sarifText{message}
	}
	if pos.Line < 1 {
		return l
	}
	r := &sarifRegion{StartLine: pos.Line, StartColumn: f.column(pos)}
	if end.Line >= pos.Line {
		r.EndLine, r.EndColumn = end.Line, f.column(end)
	}
	if src := f.line(pos.File, pos.Line); src != "" && r.EndLine <= r.StartLine {
		r.Snippet = &sarifText{src}
	}
	if r.EndLine == 0 {
		r.Snippet = nil
	}
	l.Physical.Region = r
	return l
}

// column counts characters, as columnKind promises; ours count bytes.
func (f *findings) column(pos diag.Position) int {
	if pos.Col < 1 {
		return 0
	}
	src := f.line(pos.File, pos.Line)
	n := min(pos.Col-1, len(src))
	return utf8.RuneCountInString(src[:n]) + pos.Col - n
}

func (f *findings) sarifFix(fix *diag.Fix) sarifFix {
	out := sarifFix{Description: sarifText{fix.Message}}
	for _, e := range fix.Edits {
		r := sarifReplacement{Deleted: f.region(e.File, e.Start, e.End)}
		if e.Text != "" {
			r.Inserted = &sarifText{e.Text}
		}
		n := len(out.Changes)
		if n == 0 || out.Changes[n-1].Artifact != artifact(e.File) {
			out.Changes = append(out.Changes, sarifChange{Artifact: artifact(e.File)})
			n++
		}
		out.Changes[n-1].Replacements = append(out.Changes[n-1].Replacements, r)
	}
	return out
}

// region turns byte offsets into lines and columns.
func (f *findings) region(file string, start, end int) sarifRegion {
	text := f.text(file)
	at := func(off int) (line, col int) {
		off = min(off, len(text))
		begin := strings.LastIndexByte(text[:off], '\n') + 1
		return strings.Count(text[:off], "\n") + 1, utf8.RuneCountInString(text[begin:off]) + 1
	}
	var r sarifRegion
	r.StartLine, r.StartColumn = at(start)
	r.EndLine, r.EndColumn = at(end)
	return r
}
