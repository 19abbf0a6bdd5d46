package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// Baseline is a set of findings that are known. An entry is found again by its
// file, rule and source line, so that it survives changes elsewhere.
type Baseline struct {
	Version  int             `json:"version"`
	Findings []baselineEntry `json:"findings"`
}

type baselineEntry struct {
	File  string `json:"file"`
	Rule  string `json:"rule"`
	Line  string `json:"line"`
	Count int    `json:"count"`
}

// maxBaseline bounds a baseline file.
const maxBaseline = 32 << 20

// ReadBaseline reads what WriteBaseline wrote.
func ReadBaseline(r io.Reader) (*Baseline, error) {
	b := &Baseline{}
	dec := json.NewDecoder(io.LimitReader(r, maxBaseline))
	dec.DisallowUnknownFields()
	if err := dec.Decode(b); err != nil {
		return nil, err
	}
	if b.Version != 1 {
		return nil, fmt.Errorf("version %d: want 1", b.Version)
	}
	return b, nil
}

// Filter leaves out the findings that the baseline knows, each as often as it
// was there.
func (b *Baseline) Filter(p *Project, ds []diag.Diagnostic) []diag.Diagnostic {
	known := map[baselineEntry]int{}
	for _, e := range b.Findings {
		n := e.Count
		e.Count = 0
		known[e] += n
	}
	return slices.DeleteFunc(slices.Clone(ds), func(d diag.Diagnostic) bool {
		e := entry(p, d)
		if known[e] == 0 {
			return false
		}
		known[e]--
		return true
	})
}

func entry(p *Project, d diag.Diagnostic) baselineEntry {
	return baselineEntry{File: p.Name(d.Pos.File), Rule: d.Rule, Line: strings.Join(strings.Fields(p.Line(d.Pos.File, d.Pos.Line)), " ")}
}

// WriteBaseline writes findings as a baseline, sorted.
func WriteBaseline(w io.Writer, projects []*Project, ds []diag.Diagnostic) error {
	counts := map[baselineEntry]int{}
	for _, d := range ds {
		for _, p := range projects {
			if strings.HasPrefix(d.Pos.File, p.Root) {
				counts[entry(p, d)]++
				break
			}
		}
	}
	b := Baseline{Version: 1, Findings: []baselineEntry{}}
	for e, n := range counts {
		e.Count = n
		b.Findings = append(b.Findings, e)
	}
	slices.SortFunc(b.Findings, func(x, y baselineEntry) int {
		return slices.Compare([]string{x.File, x.Rule, x.Line}, []string{y.File, y.Rule, y.Line})
	})
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(b)
}
