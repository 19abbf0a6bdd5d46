package testreport

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Report is what came of a run of a plan.
type Report struct {
	Plan    string   `json:"plan"` // its name, such as pv-ctrl
	Socket  string   `json:"socket"`
	Results []Result `json:"results"`
	Left    []string `json:"left,omitempty"` // what the clean-up could not take away
}

// Count tells how many tests ended so.
func (r *Report) Count(v Verdict) int {
	n := 0
	for _, res := range r.Results {
		if res.Verdict == v {
			n++
		}
	}
	return n
}

// OK: no test failed.
func (r *Report) OK() bool { return r.Count(Fail) == 0 }

// sorted is the results by number, for formats that have a plan.
func (r *Report) sorted() []Result {
	return slices.SortedFunc(slices.Values(r.Results), func(a, b Result) int { return a.Number - b.Number })
}

// Line is a result for people, without a newline.
func (r Result) Line() string {
	line := fmt.Sprintf("%2d  %-8s  %-48s %5d ms", r.Number, r.Verdict, r.Name, r.Millis)
	if r.Reason != "" {
		line += "\n              " + strings.ReplaceAll(r.Reason, "\n", "\n              ")
	}
	return line
}

// Line is an exchange for people.
func (x Exchange) Line() string {
	var b strings.Builder
	b.WriteString(x.Request)
	if x.Body != "" {
		b.WriteString(" " + oneLine(x.Body))
	}
	switch {
	case x.Error != "":
		b.WriteString(" → " + x.Error)
	case x.Status == 0:
		b.WriteString(" → " + oneLine(x.Reply))
	default:
		fmt.Fprintf(&b, " → %d %s", x.Status, oneLine(x.Reply))
	}
	if x.Times > 1 {
		fmt.Fprintf(&b, " (%d times)", x.Times)
	}
	return strings.TrimRight(b.String(), " ")
}

func oneLine(s string) string { return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "⏎") }

// Summary is the last line for people, and what is left.
func (r *Report) Summary() string {
	var b strings.Builder
	var parts []string
	for _, v := range []Verdict{Pass, Expected, Skip, Fail} {
		if n := r.Count(v); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	if len(parts) == 0 {
		parts = []string{"nothing"}
	}
	tests := "tests"
	if len(r.Results) == 1 {
		tests = "test"
	}
	fmt.Fprintf(&b, "%d %s: %s\n", len(r.Results), tests, strings.Join(parts, ", "))
	for _, l := range r.Left {
		fmt.Fprintf(&b, "left there: %s\n", l)
	}
	return b.String()
}

// Text writes the whole report for people; verbose adds the evidence of tests
// that passed.
func (r *Report) Text(w io.Writer, verbose bool) error {
	var b strings.Builder
	for _, res := range r.Results {
		b.WriteString(res.Block(verbose))
	}
	b.WriteString("\n" + r.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// Block is a result for people with its evidence, where it failed or verbose is
// set.
func (r Result) Block(verbose bool) string {
	var b strings.Builder
	b.WriteString(r.Line() + "\n")
	if verbose || r.Verdict == Fail {
		for _, x := range r.Evidence {
			b.WriteString("              | " + x.Line() + "\n")
		}
	}
	return b.String()
}

// JSON writes the report as one document.
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	doc := struct {
		*Report
		Counts map[Verdict]int `json:"counts"`
	}{r, map[Verdict]int{}}
	for _, v := range []Verdict{Pass, Expected, Skip, Fail} {
		doc.Counts[v] = r.Count(v)
	}
	return enc.Encode(doc)
}

// TAP writes the report in version 14 of the Test Anything Protocol, in the
// order of the numbers. A known disagreement with the plan is ok; what is known
// stands in its diagnostics.
func (r *Report) TAP(w io.Writer) error {
	var b strings.Builder
	results := r.sorted()
	fmt.Fprintf(&b, "TAP version 14\n1..%d\n", len(results))
	for i, res := range results {
		ok := "ok"
		if res.Verdict == Fail {
			ok = "not ok"
		}
		fmt.Fprintf(&b, "%s %d - %s", ok, i+1, tapText(fmt.Sprintf("T%02d %s", res.Number, res.Name)))
		if res.Verdict == Skip {
			fmt.Fprintf(&b, " # SKIP %s", tapText(oneLine(res.Reason)))
		}
		fmt.Fprintf(&b, "\n  ---\n  verdict: %s\n  duration_ms: %d\n", res.Verdict, res.Millis)
		if res.Reason != "" {
			fmt.Fprintf(&b, "  message: %s\n", yamlText(res.Reason))
		}
		if len(res.Evidence) > 0 {
			b.WriteString("  evidence:\n")
			for _, x := range res.Evidence {
				fmt.Fprintf(&b, "    - %s\n", yamlText(x.Line()))
			}
		}
		b.WriteString("  ...\n")
	}
	for _, l := range r.Left {
		fmt.Fprintf(&b, "# left there: %s\n", oneLine(l))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// tapText escapes what would begin a directive.
func tapText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "#", `\#`).Replace(s)
}

// yamlText is a double-quoted scalar; JSON's quoting is one (YAML 1.2 §7.3.1).
func yamlText(s string) string {
	b, _ := json.Marshal(s) // a string can always be encoded
	return string(b)
}
