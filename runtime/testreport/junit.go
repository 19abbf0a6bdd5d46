package testreport

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The JUnit format has no standard of its own; these are the elements that
// Jenkins' and GitLab's readers know.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		ClassName string        `xml:"classname,attr"`
		Name      string        `xml:"name,attr"`
		Time      string        `xml:"time,attr"`
		Skipped   *junitSkipped `xml:"skipped"`
		Failure   *junitFailure `xml:"failure"`
		Out       string        `xml:"system-out,omitempty"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the report as JUnit XML. A known disagreement with the plan is a
// pass whose output says so.
func (r *Report) JUnit(w io.Writer) error {
	suite := junitSuite{Name: r.Plan, Tests: len(r.Results), Failures: r.Count(Fail), Skipped: r.Count(Skip),
		Properties: []junitProperty{{"socket", r.Socket}}}
	total := int64(0)
	for _, res := range r.sorted() {
		total += res.Millis
		c := junitCase{ClassName: r.Plan, Name: fmt.Sprintf("T%02d %s", res.Number, res.Name), Time: seconds(res.Millis)}
		switch res.Verdict {
		case Skip:
			c.Skipped = &junitSkipped{res.Reason}
		case Fail:
			c.Failure = &junitFailure{oneLine(res.Reason), "FAIL", evidence(res)}
		default:
			c.Out = strings.TrimPrefix(fmt.Sprintf("%s: %s\n", res.Verdict, res.Reason), "PASS: \n") + evidence(res)
		}
		suite.Cases = append(suite.Cases, c)
	}
	suite.Time = seconds(total)
	doc := junitSuites{Name: "pvkit test " + strings.ReplaceAll(r.Plan, "-", ""), Tests: suite.Tests, Failures: suite.Failures, Skipped: suite.Skipped, Time: suite.Time,
		Suites: []junitSuite{suite}}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func evidence(r Result) string {
	var b strings.Builder
	for _, x := range r.Evidence {
		b.WriteString(x.Line() + "\n")
	}
	return b.String()
}

func seconds(ms int64) string { return fmt.Sprintf("%d.%03d", ms/1000, ms%1000) }
