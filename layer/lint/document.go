package lint

import (
	"embed"
	"fmt"
	"strings"
)

// The examples of the rules, which are their tests.
//
//go:embed testdata/rules
var examples embed.FS

// Example is a set of files with what a rule says about them.
type Example struct {
	// Comment is the text in front of the first file.
	Comment string
	Files   []ExampleFile
}

// ExampleFile is a file of an example.
type ExampleFile struct{ Name, Text string }

// ParseExample reads the form of the example files: "-- name --" on a line
// begins a file.
func ParseExample(text string) Example {
	var e Example
	for line := range strings.SplitAfterSeq(text, "\n") {
		name, isFile := strings.CutPrefix(strings.TrimSpace(line), "-- ")
		name, closed := strings.CutSuffix(name, " --")
		switch n := len(e.Files); {
		case isFile && closed:
			e.Files = append(e.Files, ExampleFile{Name: name})
		case n == 0:
			e.Comment += line
		default:
			e.Files[n-1].Text += line
		}
	}
	return e
}

// ExampleLayer is the layer.conf of an example that brings none.
const ExampleLayer = `BBPATH .= ":${LAYERDIR}"
BBFILES += "${LAYERDIR}/recipes-*/*/*.bb ${LAYERDIR}/recipes-*/*/*.bbappend"
BBFILE_COLLECTIONS += "demo"
BBFILE_PATTERN_demo = "^${LAYERDIR}/"
LAYERSERIES_COMPAT_demo = "scarthgap"
INHERIT += "pvbase"
`

// LoadExample returns the example "bad" or "good" of a rule.
func LoadExample(rule, kind string) (Example, error) {
	text, err := examples.ReadFile("testdata/rules/" + rule + "/" + kind + ".txt")
	if err != nil {
		return Example{}, fmt.Errorf("example of rule %s: %w", rule, err)
	}
	return ParseExample(string(text)), nil
}

// Document is a rule's documentation, in Markdown.
func Document(r *Rule) (string, error) {
	var b strings.Builder
	fixable := ""
	if r.Fixable {
		fixable = ", `--fix` mends it"
	}
	fmt.Fprintf(&b, "## %s\n\n%s (%s%s)\n\n%s\n\n**To mend it:** %s\n", r.ID, r.Summary, r.Severity, fixable, r.Why, r.Fix)
	for _, kind := range []string{"bad", "good"} {
		e, err := LoadExample(r.ID, kind)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "\n%s:\n", map[string]string{"bad": "Wrong", "good": "Right"}[kind])
		if c := strings.TrimSpace(e.Comment); c != "" {
			fmt.Fprintf(&b, "\n%s\n", c)
		}
		for _, f := range e.Files {
			if f.Name == "findings" {
				fmt.Fprintf(&b, "\n```\n%s```\n", f.Text)
				continue
			}
			fmt.Fprintf(&b, "\n`%s`\n\n```\n%s```\n", f.Name, f.Text)
		}
	}
	return b.String(), nil
}
