package lint

import (
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

func doubleOperator() *Rule {
	return &Rule{
		ID: "double-operator", Severity: diag.Warning, Fixable: true,
		Summary: ":append, :prepend or :remove together with another operator",
		Why: "The keyword alone says what to do; the operator beside it adds a blank, or does something nobody " +
			"expects: `A:append ?= \"x\"` always appends, and `A:append ??= \"x\"` sets a variable for an override " +
			"called append and never appends. BitBake warns about some of these.",
		Fix:  "Use `=` beside the keyword (`:=` where the value must be expanded at once).",
		file: doubleOperators,
	}
}

func doubleOperators(p *Pass, f *bitbake.File) {
	for a := range assigns(f) {
		_, words := splitName(a.Name)
		k := keyword(words)
		if k == "" || a.Flag != "" || a.Op == bitbake.OpSet || a.Op == bitbake.OpNow {
			continue
		}
		d := found(f, bitbake.Span{Start: a.NameSpan.Start, End: a.OpSpan.End}, "%s %s puts two operators together", a.Name, a.Op)
		fix := &diag.Fix{Message: "keep the keyword", Edits: []diag.Edit{edit(f, a.OpSpan, "=")}}
		insert := func(at int) {
			fix.Edits = append(fix.Edits, edit(f, bitbake.Span{Start: at, End: at}, " "))
		}
		blankFirst := strings.TrimLeft(a.Value, " \t") != a.Value
		blankLast := strings.TrimRight(a.Value, " \t") != a.Value
		switch {
		case a.Op == bitbake.OpWeak:
			d.Message = a.Name + " ??= never " + map[string]string{"append": "appends", "prepend": "prepends", "remove": "removes"}[k]
			fix = nil
		case k == "remove" || a.Value == "":
		case a.Op == bitbake.OpAppend && !blankFirst:
			insert(a.ValueSpan.Start)
		case a.Op == bitbake.OpPrepend && !blankLast:
			insert(a.ValueSpan.End)
		}
		d.Fix = fix
		p.report(d)
	}
}
