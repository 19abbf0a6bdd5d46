package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/lint"
)

// lintOptions are the flags of pvkit lint.
type lintOptions struct {
	layerFlags
	format, template        string
	fix, diff, quiet        bool
	stdinName, explain      string
	failOn                  string
	baseline, writeBaseline string
	disable                 []string
}

func lintCommand(env Env) *cobra.Command {
	var o lintOptions
	c := &cobra.Command{
		Use:   "lint [PATH...]",
		Short: "Find mistakes in BitBake layers, kas files and Kconfig",
		Long: `Find mistakes in BitBake layers, kas files and Kconfig: += that throws a default
away, words that grow together, features that nothing tests, and more. Rules look
at evaluated variables, not at text. --explain RULE tells about one, --explain
all lists them.
` + layerHelp + `

PATH limits the findings to files and directories. "-" is standard input;
--stdin-filename says which file it stands for.

A comment "# pvkit: disable=RULE reason" above a statement turns a rule off for
it, "# pvkit: disable-file=RULE reason" for the file. .pvkit.yaml sets
severities, paths and known feature names. A baseline is a file of findings that
are known and not shown: write it with --write-baseline, use it with --baseline.

Exit codes: 0 nothing found, 1 findings of the severity --fail-on or worse,
2 the work could not be done, 64 usage.`,
		Example: `  pvkit lint
  pvkit lint --poky ../poky --fix
  pvkit lint --format sarif > findings.sarif
  pvkit lint --format template --template '{{range .}}{{.Rule}} {{.File}}{{"\n"}}{{end}}'
  pvkit lint --explain weak-default-clobber`,
		RunE: func(c *cobra.Command, args []string) error {
			if o.explain != "" {
				return explainRule(env.Stdout, o.explain)
			}
			if err := o.check(args); err != nil {
				return err
			}
			return o.run(c.Context(), env, args)
		},
	}
	o.register(c)
	f := c.Flags()
	f.StringVar(&o.format, "format", "text", "`text`, oneline, json, jsonl, sarif, github, junit or template")
	f.StringVar(&o.template, "template", "", "a Go `template` over the list of findings, for --format template")
	f.BoolVar(&o.fix, "fix", false, "mend the files where that is possible: findings of the severity --fail-on or worse")
	f.BoolVar(&o.diff, "diff", false, "show what --fix would change")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not say what could not be looked into")
	f.StringVar(&o.stdinName, "stdin-filename", "", "the `file` that standard input stands for")
	f.StringVar(&o.explain, "explain", "", "tell about a `rule`, or list all")
	f.StringVar(&o.failOn, "fail-on", "warning", "the `severity` that makes the exit code 1: note, warning or error")
	f.StringVar(&o.baseline, "baseline", "", "a `file` of findings that are known")
	f.StringVar(&o.writeBaseline, "write-baseline", "", "write the findings to a baseline `file`")
	f.StringSliceVar(&o.disable, "disable", nil, "turn a `rule` off; may be repeated")
	c.MarkFlagsMutuallyExclusive("fix", "diff")
	return c
}

// check finds what makes no sense together.
func (o *lintOptions) check(args []string) error {
	stdin := slices.Contains(args, "-")
	switch {
	case stdin && len(args) > 1:
		return usagef("pvkit lint: - stands alone")
	case stdin && o.stdinName == "":
		return usagef("pvkit lint: - needs --stdin-filename")
	case !stdin && o.stdinName != "":
		return usagef("pvkit lint: --stdin-filename is for -")
	case o.template != "" && o.format != "template":
		return usagef("pvkit lint: --template is for --format template")
	case o.format == "template" && o.template == "":
		return usagef("pvkit lint: --format template needs --template")
	}
	if _, ok := severities[o.failOn]; !ok {
		return usagef("pvkit lint: --fail-on %s: want note, warning or error", o.failOn)
	}
	if _, err := newReporter(o); err != nil {
		return usagef("pvkit lint: %w", err)
	}
	for _, id := range o.disable {
		if ruleByID(id) == nil {
			return usagef("pvkit lint: --disable: %w", noRule(id))
		}
	}
	return nil
}

var severities = map[string]diag.Severity{"note": diag.Note, "warning": diag.Warning, "error": diag.Error}

func ruleByID(id string) *lint.Rule {
	for _, r := range lint.Rules() {
		if r.ID == id {
			return r
		}
	}
	return nil
}

func noRule(id string) error {
	var ids []string
	for _, r := range lint.Rules() {
		ids = append(ids, r.ID)
	}
	if near := diag.Nearest(id, ids); near != "" {
		return fmt.Errorf("there is no rule %s; did you mean %s?", id, near)
	}
	return fmt.Errorf("there is no rule %s; there are: %s", id, strings.Join(ids, ", "))
}

// work is one project with the paths of it that are wanted.
type work struct {
	root  string
	paths []string
}

// projects groups the arguments by project; none means the one around the
// current directory.
func (o *lintOptions) projects(args []string) ([]work, error) {
	if o.dir != "" || len(args) == 0 {
		root, err := projectRoot(cmpOr(o.dir, "."))
		if err != nil {
			return nil, err
		}
		w := work{root: root}
		for _, a := range args {
			abs, err := filepath.Abs(a)
			if err != nil {
				return nil, err
			}
			w.paths = append(w.paths, abs)
		}
		return []work{w}, nil
	}
	var out []work
	for _, a := range args {
		root, err := projectRoot(a)
		if err != nil {
			return nil, err
		}
		abs, err := filepath.Abs(a)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(out, func(w work) bool { return w.root == root })
		if i < 0 {
			i, out = len(out), append(out, work{root: root})
		}
		out[i].paths = append(out[i].paths, abs)
	}
	return out, nil
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (o *lintOptions) run(ctx context.Context, env Env, args []string) error {
	overlay := map[string][]byte{}
	if len(args) == 1 && args[0] == "-" {
		text, err := io.ReadAll(io.LimitReader(env.Stdin, maxStdin))
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
		name, err := filepath.Abs(o.stdinName)
		if err != nil {
			return err
		}
		overlay[name] = text
		args = []string{o.stdinName}
	}
	works, err := o.works(args, overlay)
	if err != nil {
		return err
	}
	var all findings
	for _, w := range works {
		if err := o.lint(ctx, env, w, overlay, &all); err != nil {
			return err
		}
	}
	return o.finish(env, &all, overlay)
}

// maxStdin bounds what is read from standard input.
const maxStdin = 64 << 20

// works is projects for a file that may exist on standard input only.
func (o *lintOptions) works(args []string, overlay map[string][]byte) ([]work, error) {
	for name := range overlay {
		if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
			root, err := projectRoot(filepath.Dir(name))
			return []work{{root: root, paths: []string{name}}}, err
		}
	}
	return o.projects(args)
}

func (o *lintOptions) lint(ctx context.Context, env Env, w work, overlay map[string][]byte, all *findings) error {
	p, s, err := o.open(ctx, env, w.root, lint.OpenOptions{Paths: w.paths, Overlay: overlay})
	if err != nil {
		return err
	}
	res, err := lint.Run(ctx, p)
	if err != nil {
		return err
	}
	found := slices.DeleteFunc(res.Findings, func(d diag.Diagnostic) bool { return slices.Contains(o.disable, d.Rule) })
	name := o.baseline
	if name == "" && s.Baseline != "" && o.writeBaseline == "" {
		name = filepath.Join(w.root, s.Baseline)
	}
	if name != "" {
		if found, err = withoutKnown(name, found, p); err != nil {
			return err
		}
	}
	all.projects = append(all.projects, p)
	all.list = append(all.list, found...)
	if !o.quiet {
		for _, u := range res.Unseen {
			fmt.Fprintf(env.Stderr, "pvkit: not looked into: %s\n", u.Message)
		}
	}
	return nil
}

func withoutKnown(name string, found []diag.Diagnostic, p *lint.Project) ([]diag.Diagnostic, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	base, err := lint.ReadBaseline(f)
	if err != nil {
		return nil, fmt.Errorf("read baseline %s: %w", name, err)
	}
	return base.Filter(p, found), nil
}

// finish writes, mends or reports what was found.
func (o *lintOptions) finish(env Env, all *findings, overlay map[string][]byte) error {
	if o.writeBaseline != "" {
		return writeBaseline(o.writeBaseline, all)
	}
	if o.fix || o.diff {
		left, err := o.mend(env, all, overlay)
		if err != nil {
			return err
		}
		if o.diff {
			if len(left) < len(all.list) {
				return ErrFindings
			}
			return nil
		}
		all.list = left
		if len(overlay) > 0 {
			return o.verdict(all) // the mended text is the output
		}
	}
	r, err := newReporter(o)
	if err != nil {
		return err
	}
	if err := r(env.Stdout, all); err != nil {
		return err
	}
	return o.verdict(all)
}

func (o *lintOptions) verdict(all *findings) error {
	if worst, ok := diag.Worst(all.list); ok && worst >= severities[o.failOn] {
		return ErrFindings
	}
	return nil
}
