package cli

import (
	"fmt"
	"io"

	"github.com/pvkit/pvkit/layer/lint"
)

// explainRule prints what a rule is about, or a list of all.
func explainRule(w io.Writer, id string) error {
	if id == "all" {
		for _, r := range lint.Rules() {
			if _, err := fmt.Fprintf(w, "%-22s %-8s %s\n", r.ID, r.Severity, r.Summary); err != nil {
				return err
			}
		}
		return nil
	}
	r := ruleByID(id)
	if r == nil {
		return usagef("pvkit lint: --explain: %w", noRule(id))
	}
	text, err := lint.Document(r)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	return err
}
