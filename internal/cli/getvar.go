package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
	"github.com/pvkit/pvkit/layer/lint"
)

// question is which variable of which configuration is asked for.
type question struct {
	layerFlags
	config, recipe, machine, distro string
}

func (q *question) register(c *cobra.Command) {
	q.layerFlags.register(c)
	f := c.Flags()
	f.StringVarP(&q.config, "config", "c", "", "a `configuration`: a kas file, a distro, a machine")
	f.StringVarP(&q.recipe, "recipe", "r", "", "ask in a `recipe`, by name or file")
	f.StringVar(&q.machine, "machine", "", "use this `machine`")
	f.StringVar(&q.distro, "distro", "", "use this `distro`")
}

// answerTo is an evaluated configuration or recipe.
type answerTo struct {
	p      *lint.Project
	config *lint.Config
	recipe string
	d      *bitbake.Datastore
}

// load evaluates what the question is about.
func (q *question) load(ctx context.Context, env Env) (*answerTo, error) {
	p, err := q.openHere(ctx, env)
	if err != nil {
		return nil, err
	}
	c := p.Main()
	if q.config != "" {
		if c, err = p.FindConfig(q.config); err != nil {
			return nil, err
		}
	}
	if c == nil {
		return nil, fmt.Errorf("%s describes no configuration: it has no layer", p.Root)
	}
	if q.machine != "" || q.distro != "" {
		c = c.With(q.machine, q.distro)
	}
	d, ds, err := p.Load(ctx, c)
	if err != nil {
		return nil, err
	}
	a := &answerTo{p: p, config: c, d: d}
	if q.recipe != "" {
		if a.recipe, err = p.FindRecipe(q.recipe); err != nil {
			return nil, err
		}
		rec, err := d.Recipe(a.recipe, p.Appends(d, a.recipe)...)
		if err != nil {
			fmt.Fprintf(env.Stderr, "pvkit: %s: %v\n", a.recipe, err)
		}
		a.d = rec
	}
	seen := map[string]bool{}
	for _, dg := range ds {
		if seen[dg.Message] {
			continue
		}
		seen[dg.Message] = true
		if dg.Rule == bitbake.RuleMissing || dg.Severity == diag.Error {
			fmt.Fprintf(env.Stderr, "pvkit: %s\n", findingLine(p, dg))
		}
	}
	return a, nil
}

// findingLine is a finding of the evaluator on a line.
func findingLine(p *lint.Project, d diag.Diagnostic) string {
	pos := p.Host(d.Pos)
	if pos.File == "" {
		return d.Message
	}
	pos.File = shortName(pos.File)
	return pos.String() + ": " + d.Message
}

func (a *answerTo) where() string {
	if a.recipe != "" {
		return a.recipe + ", " + a.config.Name
	}
	return a.config.Name
}

// answer is the JSON form of pvkit getvar.
type answer struct {
	Variable   string      `json:"variable"`
	Flag       string      `json:"flag,omitempty"`
	Config     string      `json:"config"`
	Recipe     string      `json:"recipe,omitempty"`
	Set        bool        `json:"set"`
	Value      string      `json:"value"`
	Unexpanded string      `json:"unexpanded"`
	Known      bool        `json:"known"`
	Why        string      `json:"why,omitempty"`
	Error      string      `json:"error,omitempty"`
	History    []operation `json:"history"`
}

type operation struct {
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Column    int    `json:"column,omitempty"`
	Operation string `json:"operation"`
	Name      string `json:"name"`
	Flag      string `json:"flag,omitempty"`
	Operand   string `json:"operand"`
	Via       []via  `json:"via,omitempty"`
}

type via struct {
	Verb string `json:"verb"`
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
}

func getvarCommand(env Env) *cobra.Command {
	var q question
	var flag string
	var unexpanded, value, asJSON bool
	c := &cobra.Command{
		Use:   "getvar VAR",
		Short: "Show the value of a BitBake variable and every statement behind it",
		Long: `Show the value of a BitBake variable and every statement behind it, with file
and line, operator and operand, and how the file came in. Nothing is executed:
Python that pvkit does not know makes the value unknown, and says so.
` + layerHelp + `

Exit code 1 means that the variable is not set or its value is not known.`,
		Example: `  pvkit getvar PANTAVISOR_FEATURES
  pvkit getvar -c kas/machines/rpi.yaml --value MACHINE_FEATURES
  pvkit getvar -r pantavisor --poky ../poky EXTRA_OECMAKE`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := q.load(c.Context(), env)
			if err != nil {
				return err
			}
			ans := a.ask(args[0], flag)
			switch {
			case asJSON:
				enc := json.NewEncoder(env.Stdout)
				enc.SetEscapeHTML(false)
				enc.SetIndent("", "  ")
				err = enc.Encode(ans)
			case value:
				err = writeValue(env.Stdout, ans, unexpanded)
			default:
				err = writeAnswer(env.Stdout, ans, unexpanded)
			}
			if err == nil && (!ans.Set || !ans.Known || ans.Error != "") {
				return ErrFindings
			}
			return err
		},
	}
	q.register(c)
	c.Flags().StringVarP(&flag, "flag", "f", "", "show a `flag` of the variable")
	c.Flags().BoolVarP(&unexpanded, "unexpanded", "u", false, "show the value before its variables are expanded")
	c.Flags().BoolVar(&value, "value", false, "print the value and nothing else")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *answerTo) ask(name, flag string) *answer {
	ans := &answer{Variable: name, Flag: flag, Config: a.config.Name, Recipe: a.recipe, History: []operation{}}
	var v bitbake.Value
	var err error
	if flag != "" {
		v, ans.Set = a.d.GetFlag(name, flag)
		ans.Unexpanded = v.Text
		if v, err = a.d.Expand(v.Text); err != nil {
			ans.Error = err.Error()
		}
	} else {
		raw, _, _ := a.d.Unexpanded(name)
		ans.Unexpanded = raw.Text
		if v, ans.Set, err = a.d.Get(name); err != nil {
			ans.Error, ans.Set = err.Error(), true
		}
	}
	ans.Value, ans.Known, ans.Why = v.Text, v.Known || !ans.Set, v.Why
	for _, st := range a.d.Explain(name).Steps {
		if (flag != "" && st.Flag != flag) || (flag == "" && st.Flag != "" && !st.Weak()) {
			continue
		}
		ans.History = append(ans.History, a.operation(st.Event))
	}
	return ans
}

func (a *answerTo) operation(e bitbake.Event) operation {
	pos := a.p.Host(e.Pos)
	op := operation{File: pos.File, Line: pos.Line, Column: pos.Col, Operation: e.Label(), Name: e.Name, Flag: e.Flag, Operand: e.Operand}
	if e.Weak() {
		op.Operation, op.Flag = "set default", ""
	}
	for _, v := range e.Via {
		from := a.p.Host(v.Pos)
		if from.File != "" {
			op.Via = append(op.Via, via{v.Verb, from.File, from.Line})
		}
	}
	return op
}

func writeValue(w io.Writer, ans *answer, unexpanded bool) error {
	if !ans.Set {
		return nil
	}
	text := ans.Value
	if unexpanded {
		text = ans.Unexpanded
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// writeAnswer prints in the form of bitbake-getvar, with more.
func writeAnswer(w io.Writer, ans *answer, unexpanded bool) error {
	var b strings.Builder
	name := ans.Variable
	if ans.Flag != "" {
		name += "[" + ans.Flag + "]"
	}
	where := ans.Config
	if ans.Recipe != "" {
		where = ans.Recipe + ", " + where
	}
	fmt.Fprintf(&b, "# $%s in %s [%d operations]\n", name, where, len(ans.History))
	for _, op := range ans.History {
		fmt.Fprintf(&b, "#   %s", op.Operation)
		if op.Name != ans.Variable && !strings.HasPrefix(op.Operation, ":") {
			fmt.Fprintf(&b, " %s", op.Name)
		}
		if op.File != "" {
			fmt.Fprintf(&b, " %s:%d", op.File, op.Line)
		}
		fmt.Fprintf(&b, "\n#     %q\n", op.Operand)
		for _, v := range op.Via {
			fmt.Fprintf(&b, "#     %s %s:%d\n", v.Verb, v.File, v.Line)
		}
	}
	switch {
	case !ans.Set:
		fmt.Fprintf(&b, "# %s is not set\n", name)
	case ans.Error != "":
		fmt.Fprintf(&b, "# cannot be expanded: %s\n", ans.Error)
	default:
		if ans.Unexpanded != ans.Value && !unexpanded {
			fmt.Fprintf(&b, "# before expansion:\n#   %q\n", ans.Unexpanded)
		}
		if !ans.Known {
			fmt.Fprintf(&b, "# not known: %s\n", ans.Why)
		}
		text := ans.Value
		if unexpanded {
			text = ans.Unexpanded
		}
		fmt.Fprintf(&b, "%s=%q\n", name, text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
