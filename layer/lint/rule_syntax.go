package lint

import (
	"regexp"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

func oldSyntax() *Rule {
	return &Rule{
		ID: "old-override-syntax", Severity: diag.Error, Fixable: true,
		Summary: "an override written with an underscore",
		Why: "Since Yocto 3.4 overrides follow a colon. BitBake refuses `VAR_append`, `VAR_prepend` and " +
			"`VAR_remove`, and takes `FILES_${PN}` for a variable of that name, which nothing reads.",
		Fix:  "Write a colon.",
		file: oldNames,
	}
}

var (
	oldKeyword = regexp.MustCompile(`^(.+?)_(append|prepend|remove)(_[a-z0-9$][^_]*)?$`)
	oldPackage = regexp.MustCompile(`^(FILES|RDEPENDS|RRECOMMENDS|RSUGGESTS|RPROVIDES|RREPLACES|RCONFLICTS|CONFFILES|ALLOW_EMPTY|INSANE_SKIP|SUMMARY|DESCRIPTION|PKG|pkg_postinst|pkg_postrm|pkg_preinst|pkg_prerm)_(\$\{PN\}.*)$`)
)

func oldNames(p *Pass, f *bitbake.File) {
	for _, s := range f.Stmts {
		var name string
		var span bitbake.Span
		switch s := s.(type) {
		case *bitbake.Assign:
			if s.Flag != "" || s.Op == bitbake.OpWeak {
				continue
			}
			name, span = s.Name, s.NameSpan
		case *bitbake.Function:
			name, span = s.Name, s.NameSpan
		default:
			continue
		}
		switch {
		case oldPackage.MatchString(name):
			d := found(f, span, "%s is a variable that nothing reads: overrides follow a colon", name)
			d.Fix = rename(f, span, oldPackage.ReplaceAllString(name, "$1:$2"))
			p.report(d)
		case strings.Contains(name, "_append") || strings.Contains(name, "_prepend") || strings.Contains(name, "_remove"):
			if strings.HasPrefix(name, "__anon_") {
				continue
			}
			d := found(f, span, "%s holds an operation in the old syntax: BitBake stops here", name)
			if m := oldKeyword.FindStringSubmatch(name); m != nil && !strings.Contains(m[1], "_append") {
				d.Fix = rename(f, span, m[1]+":"+m[2]+strings.Replace(m[3], "_", ":", 1))
			}
			p.report(d)
		}
	}
}

func rename(f *bitbake.File, span bitbake.Span, name string) *diag.Fix {
	return &diag.Fix{Message: "write " + name, Edits: []diag.Edit{edit(f, span, name)}}
}

func bitbakeError() *Rule {
	return &Rule{
		ID: bitbake.RuleParse, Severity: diag.Error,
		Summary: "a file that BitBake refuses to read",
		Why:     "BitBake stops at the first line that it cannot read; every recipe that uses the file is lost.",
		Fix:     "Mend the line.",
		file: func(p *Pass, f *bitbake.File) {
			if f.Err != nil {
				p.report(f.Err.Diagnostic())
			}
		},
	}
}
