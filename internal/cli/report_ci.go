package cli

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// githubEscape is what workflow commands want (docs: "workflow commands for
// GitHub Actions"): data escapes %, CR and LF, properties also : and ,.
var (
	githubData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// reportGitHub writes annotations as workflow commands.
func reportGitHub(w io.Writer, f *findings) error {
	for _, d := range f.list {
		level := map[diag.Severity]string{diag.Error: "error", diag.Warning: "warning", diag.Note: "notice"}[d.Severity]
		props := fmt.Sprintf("file=%s,line=%d,col=%d", githubProperty.Replace(shortName(d.Pos.File)), max(d.Pos.Line, 1), max(d.Pos.Col, 1))
		if d.End.Line > 0 {
			props += fmt.Sprintf(",endLine=%d,endColumn=%d", d.End.Line, d.End.Col)
		}
		text := d.Message
		for _, r := range d.Related {
			text += fmt.Sprintf("\n%s:%d: %s", shortName(r.Pos.File), r.Pos.Line, r.Message)
		}
		if d.Hint != "" {
			text += "\n" + d.Hint
		}
		if _, err := fmt.Fprintf(w, "::%s %s,title=%s::%s\n", level, props, githubProperty.Replace(d.Rule), githubData.Replace(text)); err != nil {
			return err
		}
	}
	return nil
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	ClassName string        `xml:"classname,attr"`
	File      string        `xml:"file,attr,omitempty"`
	Line      int           `xml:"line,attr,omitempty"`
	Failure   *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// reportJUnit writes a suite a file and a case a finding; without findings
// there is one case, which passes.
func reportJUnit(w io.Writer, f *findings) error {
	out := junitSuites{Tests: len(f.list), Failures: len(f.list)}
	for _, d := range f.list {
		file := shortName(d.Pos.File)
		if n := len(out.Suites); n == 0 || out.Suites[n-1].Name != file {
			out.Suites = append(out.Suites, junitSuite{Name: file})
		}
		s := &out.Suites[len(out.Suites)-1]
		s.Tests, s.Failures = s.Tests+1, s.Failures+1
		s.Cases = append(s.Cases, junitCase{
			Name: fmt.Sprintf("%s:%d:%d", d.Rule, d.Pos.Line, d.Pos.Col), ClassName: file, File: file, Line: d.Pos.Line,
			Failure: &junitFailure{Message: d.Message, Type: d.Severity.String(), Text: oneline(d) + "\n" + d.Hint},
		})
	}
	if len(f.list) == 0 {
		out.Tests = 1
		out.Suites = []junitSuite{{Name: "pvkit lint", Tests: 1, Cases: []junitCase{{Name: "no findings", ClassName: "pvkit lint"}}}}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
