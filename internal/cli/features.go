package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/layer/lint"
)

func featuresCommand(env Env) *cobra.Command {
	var l layerFlags
	var variable, base, format string
	var all bool
	c := &cobra.Command{
		Use:   "features",
		Short: "Show which features each configuration has, and what they switch on",
		Long: `Show which feature words each configuration has, where they come from, and which
recipes and classes test them: for every kas file that names machine and distro,
or for every machine with every distro. Words that are set and never tested,
tested and never set, misspelt, doubled, or removed and added again are named.
` + layerHelp + `

With --base, the difference to a git revision is shown instead, and exit code 1
means that there is one.`,
		Example: `  pvkit features
  pvkit features --all --format markdown > FEATURES.md
  pvkit features --base origin/main
  pvkit features --var MACHINE_FEATURES --poky ../poky`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains([]string{"table", "json", "markdown"}, format) {
				return usagef("pvkit features: --format %s: want table, json or markdown", format)
			}
			p, m, err := featureMatrix(c.Context(), env, &l, variable, all)
			if err != nil {
				return err
			}
			if base == "" {
				return writeMatrix(env.Stdout, m, format)
			}
			old, err := baseMatrix(c.Context(), env, &l, p, base, variable, all)
			if err != nil {
				return err
			}
			return writeMatrixDiff(env.Stdout, m.Compare(old), format, base)
		},
	}
	l.register(c)
	f := c.Flags()
	f.StringVar(&variable, "var", "PANTAVISOR_FEATURES", "the `variable` that holds the features")
	f.BoolVar(&all, "all", false, "every configuration: all kas files, machines, distros and multiconfigs")
	f.StringVar(&base, "base", "", "show the difference to a git `revision`")
	f.StringVar(&format, "format", "table", "`table`, json or markdown")
	return c
}

func featureMatrix(ctx context.Context, env Env, l *layerFlags, variable string, all bool) (*lint.Project, *lint.Matrix, error) {
	p, err := l.openHere(ctx, env)
	if err != nil {
		return nil, nil, err
	}
	m, err := lint.Features(ctx, p, variable, all)
	return p, m, err
}

// baseMatrix is the matrix of the project as it was in a revision, with the
// layers below as they are now.
func baseMatrix(ctx context.Context, env Env, l *layerFlags, now *lint.Project, rev, variable string, all bool) (*lint.Matrix, error) {
	tree, err := gitTree(ctx, now.Root, rev)
	if err != nil {
		return nil, err
	}
	s, err := settings(now.Root)
	if err != nil {
		return nil, err
	}
	r := &replaced{dir: strings.TrimPrefix(now.Root, "/"), tree: tree}
	o := lint.OpenOptions{Root: now.Root, Settings: s, Below: now.Below}
	if o.BuildDir, err = l.buildDir(env, now.Root, s); err != nil {
		return nil, err
	}
	for _, dir := range append(slices.Clone(now.Below), o.BuildDir) {
		if dir != "" {
			r.keep = append(r.keep, strings.TrimPrefix(dir, "/"))
		}
	}
	p, err := lint.Open(ctx, r, o)
	if err != nil {
		return nil, fmt.Errorf("revision %s: %w", rev, err)
	}
	return lint.Features(ctx, p, variable, all)
}

func writeMatrix(w io.Writer, m *lint.Matrix, format string) error {
	var b strings.Builder
	switch format {
	case "json":
		return indented(w, m)
	case "markdown":
		matrixMarkdown(&b, m)
	default:
		matrixTable(&b, m)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func indented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// cell is what a configuration says about a word.
func cell(c lint.FeatureConfig, name string) string {
	for _, w := range c.Words {
		if w.Name != name {
			continue
		}
		switch {
		case w.Set && w.Times > 1:
			return "+"
		case w.Set:
			return "x"
		case w.Removed && w.Times > 0:
			return "-"
		}
	}
	if !c.Known {
		return "?"
	}
	return "."
}

const legend = "x set  + set more than once  - removed  . not set  ? not known"

func matrixTable(b *strings.Builder, m *lint.Matrix) {
	fmt.Fprintf(b, "%s in %d configurations\n\n", m.Variable, len(m.Configs))
	for i, c := range m.Configs {
		fmt.Fprintf(b, "%3d  %s%s\n", i+1, c.Name, machineDistro(c))
		if !c.Known {
			fmt.Fprintf(b, "     not known: %s\n", c.Why)
		}
	}
	width := 0
	for _, f := range m.Features {
		width = max(width, utf8.RuneCountInString(f.Name))
	}
	fmt.Fprintf(b, "\n%*s", width, "")
	for i := range m.Configs {
		fmt.Fprintf(b, "%3d", i+1)
	}
	b.WriteByte('\n')
	for _, f := range m.Features {
		fmt.Fprintf(b, "%-*s", width, f.Name)
		for _, c := range m.Configs {
			b.WriteString("  " + cell(c, f.Name))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "\n%s\n", legend)
	for _, f := range m.Features {
		fmt.Fprintf(b, "\n%s\n", f.Name)
		for _, o := range origins(m, f.Name) {
			fmt.Fprintf(b, "  %s\n", o)
		}
		for _, t := range f.TestedBy {
			fmt.Fprintf(b, "  tested  %s:%d%s\n", t.File, t.Line, switches(t))
		}
		for _, p := range f.Problems {
			fmt.Fprintf(b, "  ! %s\n", p)
		}
	}
	switch {
	case m.Shared:
		fmt.Fprintf(b, "\nWhich words are never tested is not known: other layers test %s, too.\n", m.Variable)
	case m.Opaque != "":
		fmt.Fprintf(b, "\nWhich words are never tested is not known: %s reads the whole variable.\n", m.Opaque)
	}
}

// switches says what a test does with its answer.
func switches(t lint.Test) string {
	switch {
	case t.In == "":
		return ""
	case t.Gives == "" || t.Gives == "True":
		return "  " + t.In
	}
	return "  " + t.In + ": " + short70(t.Gives)
}

// short70 cuts a long text.
func short70(s string) string {
	if r := []rune(s); len(r) > 70 {
		return string(r[:69]) + "…"
	}
	return s
}

func machineDistro(c lint.FeatureConfig) string {
	parts := slices.DeleteFunc([]string{c.Machine, c.Distro}, func(s string) bool { return s == "" })
	if len(parts) == 0 {
		return ""
	}
	return "  (" + strings.Join(parts, ", ") + ")"
}

// origins lists the statements on a word with the numbers of the
// configurations in which they count.
func origins(m *lint.Matrix, name string) []string {
	type key struct {
		place     string
		operation string
		effect    string
	}
	in := map[key][]string{}
	var keys []key
	for i, c := range m.Configs {
		for _, w := range c.Words {
			if w.Name != name {
				continue
			}
			for _, o := range w.From {
				k := key{fmt.Sprintf("%s:%d", o.File, o.Line), o.Operation, o.Effect}
				if in[k] == nil {
					keys = append(keys, k)
				}
				if n := fmt.Sprint(i + 1); !slices.Contains(in[k], n) {
					in[k] = append(in[k], n)
				}
			}
		}
	}
	slices.SortStableFunc(keys, func(a, b key) int {
		return cmp.Or(strings.Compare(a.place, b.place), strings.Compare(a.operation, b.operation), strings.Compare(a.effect, b.effect))
	})
	var out []string
	for _, k := range keys {
		text := fmt.Sprintf("%-7s %s", k.operation, k.place)
		if k.effect != "applied" {
			text += ", " + k.effect
		}
		if len(in[k]) < len(m.Configs) {
			text += " (in " + strings.Join(in[k], " ") + ")"
		}
		out = append(out, text)
	}
	return out
}

func matrixMarkdown(b *strings.Builder, m *lint.Matrix) {
	fmt.Fprintf(b, "# %s\n\n| feature |", m.Variable)
	for _, c := range m.Configs {
		fmt.Fprintf(b, " %s |", escapeCell(lint.ShortConfigName(c.Name)))
	}
	b.WriteString(" tested by | problems |\n|---|" + strings.Repeat(":-:|", len(m.Configs)) + "---|---|\n")
	for _, f := range m.Features {
		fmt.Fprintf(b, "| `%s` |", escapeCell(f.Name))
		for _, c := range m.Configs {
			mark := cell(c, f.Name)
			if mark == "." {
				mark = ""
			}
			fmt.Fprintf(b, " %s |", mark)
		}
		var tests []string
		for _, t := range f.TestedBy {
			tests = append(tests, fmt.Sprintf("%s:%d", t.File, t.Line))
		}
		fmt.Fprintf(b, " %s | %s |\n", escapeCell(strings.Join(tests, "<br>")), escapeCell(strings.Join(f.Problems, "; ")))
	}
	fmt.Fprintf(b, "\n%s\n", legend)
}

func escapeCell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func writeMatrixDiff(w io.Writer, d *lint.MatrixDiff, format, base string) error {
	var b strings.Builder
	switch format {
	case "json":
		if err := indented(w, d); err != nil {
			return err
		}
	case "markdown":
		fmt.Fprintf(&b, "# %s since %s\n\n| configuration | gained | lost |\n|---|---|---|\n", d.Variable, base)
		for _, c := range d.Configs {
			fmt.Fprintf(&b, "| %s%s | %s | %s |\n", escapeCell(c.Name), changeNote(c), strings.Join(c.Gained, " "), strings.Join(c.Lost, " "))
		}
	default:
		if len(d.Configs) == 0 {
			fmt.Fprintf(&b, "%s is the same in every configuration as in %s\n", d.Variable, base)
		}
		for _, c := range d.Configs {
			fmt.Fprintf(&b, "%s%s\n", c.Name, changeNote(c))
			for _, g := range c.Gained {
				fmt.Fprintf(&b, "  + %s\n", g)
			}
			for _, l := range c.Lost {
				fmt.Fprintf(&b, "  - %s\n", l)
			}
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if len(d.Configs) > 0 {
		return ErrFindings
	}
	return nil
}

func changeNote(c lint.ConfigDiff) string {
	note := ""
	if c.Change != "changed" {
		note = " (" + c.Change + ")"
	}
	if c.Unknown != "" {
		note += " (in part not known: " + c.Unknown + ")"
	}
	return note
}
