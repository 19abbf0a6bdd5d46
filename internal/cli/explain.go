package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/layer/bitbake"
)

func explainCommand(env Env) *cobra.Command {
	var q question
	c := &cobra.Command{
		Use:   "explain VAR",
		Short: "Tell how a BitBake variable came to its value",
		Long: `Tell how a BitBake variable came to its value: statement by statement, in the
order in which BitBake reads them, which one won, which were thrown away, and
why.
` + layerHelp + `

Exit code 1 means that the variable is not set or its value is not known.`,
		Example: `  pvkit explain PANTAVISOR_FEATURES
  pvkit explain -c distro/panta-appengine.conf --poky ../poky DISTRO_FEATURES`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := q.load(c.Context(), env)
			if err != nil {
				return err
			}
			return writeStory(env.Stdout, a, args[0])
		},
	}
	q.register(c)
	return c
}

func writeStory(w io.Writer, a *answerTo, name string) error {
	s := a.d.Explain(name)
	var b strings.Builder
	n := 0
	fmt.Fprintf(&b, "%s in %s\n\n", name, a.where())
	for _, st := range s.Steps {
		if st.Effect == bitbake.Aside || st.Internal && st.Stmt == nil {
			continue
		}
		n++
		pos := a.p.Host(st.Pos)
		pos.File = shortName(pos.File)
		pos.Col = 0
		if st.By != nil {
			by := *st.By
			by.Pos = a.p.Host(by.Pos)
			by.Pos.File, by.Pos.Col = shortName(by.Pos.File), 0
			st.By = &by
		}
		fmt.Fprintf(&b, "%2d. %s\n    %s\n", n, pos, st.Statement())
		for _, v := range st.Via {
			if from := a.p.Host(v.Pos); from.File != "" {
				fmt.Fprintf(&b, "    %s by %s:%d\n", pastVerb(v.Verb), shortName(from.File), from.Line)
			}
		}
		fmt.Fprintf(&b, "    → %s\n", st.Sentence())
	}
	if n > 0 {
		b.WriteByte('\n')
	}
	var result error
	switch {
	case s.Err != nil:
		fmt.Fprintf(&b, "It cannot be expanded: %v\n", s.Err)
		result = ErrFindings
	case !s.Set && s.Value.Known, !s.Set && s.Value.Why == "":
		fmt.Fprintln(&b, "It is not set.")
		result = ErrFindings
	case !s.Value.Known:
		fmt.Fprintf(&b, "Its value is not known: %s.\nWhat is known: %q\n", s.Value.Why, s.Value.Text)
		result = ErrFindings
	default:
		fmt.Fprintf(&b, "The value is %q.\n", s.Value.Text)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	return result
}

// pastVerb says how a file came in.
func pastVerb(verb string) string {
	switch verb {
	case "inherit", "inherit_defer", "INHERIT":
		return "inherited"
	case "include", "require":
		return verb + "d"
	}
	return "read"
}

// shortName is a path relative to the current directory when that is shorter.
func shortName(name string) string {
	wd, err := filepath.Abs(".")
	if err != nil || name == "" {
		return name
	}
	if rel, err := filepath.Rel(wd, name); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return name
}
