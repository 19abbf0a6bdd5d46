package lint

import (
	"github.com/pvkit/pvkit/internal/diag"
)

func yamlErrorRule() *Rule {
	return &Rule{
		ID: RuleYAML, Severity: diag.Error,
		Summary: "a kas file that is no YAML",
		Why:     "kas stops here, and nothing in the file can be checked.",
		Fix:     "Mend the YAML.",
	}
}

func kconfigErrorRule() *Rule {
	return &Rule{
		ID: RuleKconfig, Severity: diag.Error,
		Summary: "a Kconfig of a kas menu that cannot be read",
		Why:     "The menu does not open, and none of its defaults can be checked.",
		Fix:     "Mend the line.",
	}
}
