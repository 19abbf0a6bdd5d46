package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/kconfig"
)

// kconfigNames are the places where a Kconfig file is looked for.
var kconfigNames = []string{"Kconfig", "kconfig/Kconfig"}

// kconfigFlags say which Kconfig file is meant and what is set in it.
type kconfigFlags struct {
	dir, file string
	env, set  []string
	dialect   string
	from      string
}

const kconfigHelp = `
The Kconfig file is ./Kconfig or ./kconfig/Kconfig, or the one given with
--kconfig. Paths in source statements and KAS_INCLUDE_* symbols are relative to
the project's directory. Environment variables count only if --env names them.`

func (k *kconfigFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&k.dir, "directory", "C", ".", "the project's `directory`")
	f.StringVar(&k.file, "kconfig", "", "the Kconfig `file`, relative to the project's directory")
	f.StringArrayVar(&k.env, "env", nil, "an environment variable `NAME=VALUE` for the file; may be repeated")
}

func (k *kconfigFlags) registerSet(c *cobra.Command) {
	c.Flags().StringArrayVar(&k.set, "set", nil, "set a symbol: `SYMBOL=VALUE`; may be repeated")
}

func (k *kconfigFlags) registerFrom(c *cobra.Command, otherwise string) {
	c.Flags().StringVar(&k.from, "from", "", "start from what this .config.yaml `file` chose"+otherwise)
}

// load reads the Kconfig file.
func (k *kconfigFlags) load() (*kconfig.Tree, fs.FS, error) {
	environment := map[string]string{}
	for _, e := range k.env {
		name, value, ok := strings.Cut(e, "=")
		if !ok || name == "" {
			return nil, nil, usagef("--env %s: want NAME=VALUE", e)
		}
		environment[name] = value
	}
	fsys, name, err := k.find()
	if err != nil {
		return nil, nil, err
	}
	tree, err := kconfig.Load(fsys, name, kconfig.Options{Env: func(name string) (string, bool) {
		v, ok := environment[name]
		return v, ok
	}})
	return tree, fsys, err
}

// find says which file is meant, as a name in the project's directory. A file
// outside of it is the root of its own directory.
func (k *kconfigFlags) find() (fs.FS, string, error) {
	if k.file == "" {
		for _, name := range kconfigNames {
			if isFile(filepath.Join(k.dir, name)) {
				return os.DirFS(k.dir), name, nil
			}
		}
		return nil, "", fmt.Errorf("no Kconfig file in %s: looked for %s", k.dir, strings.Join(kconfigNames, " and "))
	}
	full := k.file
	if !filepath.IsAbs(full) {
		full = filepath.Join(k.dir, full)
	}
	root, err := filepath.Abs(k.dir)
	if err != nil {
		return nil, "", err
	}
	abs, err := filepath.Abs(full)
	if err != nil {
		return nil, "", err
	}
	rel, err := filepath.Rel(root, abs)
	if err == nil && filepath.IsLocal(rel) {
		return os.DirFS(k.dir), filepath.ToSlash(rel), nil
	}
	return os.DirFS(filepath.Dir(abs)), filepath.Base(abs), nil
}

// configure loads the file and applies --from and --set.
func (k *kconfigFlags) configure(env Env) (*kconfig.Config, error) {
	tree, _, err := k.load()
	if err != nil {
		return nil, err
	}
	conf := tree.New()
	if k.from != "" {
		start, err := readMenuFile(k.from)
		if err != nil {
			return nil, err
		}
		if err := restore(env, conf, start); err != nil {
			return nil, err
		}
	}
	return conf, k.apply(conf)
}

// apply sets what --set says.
func (k *kconfigFlags) apply(conf *kconfig.Config) error {
	for _, s := range k.set {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return usagef("--set %s: want SYMBOL=VALUE", s)
		}
		if err := conf.Set(name, value); err != nil {
			return usageError{fmt.Errorf("--set %s: %w", s, err)}
		}
	}
	return nil
}

func kconfigCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "kconfig",
		Short: "Evaluate, explain and check a Kconfig file",
		Long: `Evaluate, explain and check a Kconfig file as kas menu uses it, without Python.
` + kconfigHelp,
	}
	c.AddCommand(kconfigEvalCommand(env), kconfigExplainCommand(env), kconfigCheckCommand(env), kconfigConfigCommand(env))
	return c
}

func kconfigEvalCommand(env Env) *cobra.Command {
	var k kconfigFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "eval",
		Short: "Show the value of every symbol",
		Long: `Show the value of every symbol, in the order in which kas menu writes them: that
of their first mention. The marks: * can be set by a person, u is set by --set,
- has unmet dependencies and is left out by kas menu.
` + kconfigHelp,
		Example: `  pvkit kconfig eval
  pvkit kconfig eval --set MACHINE_RPI=y --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			conf, err := k.configure(env)
			if err != nil {
				return err
			}
			values := evaluate(conf)
			if asJSON {
				return writeJSON(env.Stdout, values)
			}
			if err := values.write(env.Stdout); err != nil {
				return err
			}
			for _, d := range conf.Warnings() {
				fmt.Fprintf(env.Stderr, "%s\n", d)
			}
			return nil
		},
	}
	k.register(c)
	k.registerSet(c)
	k.registerFrom(c, "")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// kconfigValues is the JSON form of pvkit kconfig eval.
type kconfigValues struct {
	Title    string            `json:"title"`
	Files    []string          `json:"files"`
	Symbols  []kconfigValue    `json:"symbols"`
	Warnings []diag.Diagnostic `json:"warnings"`
}

type kconfigValue struct {
	Name       string        `json:"name"`
	Type       string        `json:"type"`
	Value      string        `json:"value"`
	Visibility string        `json:"visibility"`
	Depends    string        `json:"dependencies"` // their value
	User       *string       `json:"user,omitempty"`
	Choice     string        `json:"choice,omitempty"`
	Pos        diag.Position `json:"position"`
}

func evaluate(conf *kconfig.Config) *kconfigValues {
	tree := conf.Tree()
	out := &kconfigValues{Title: tree.Title, Files: tree.Files, Symbols: []kconfigValue{}, Warnings: []diag.Diagnostic{}}
	for _, s := range tree.Symbols {
		if !s.Defined() {
			continue
		}
		v := kconfigValue{
			Name: s.Name, Type: s.Type.String(), Value: conf.Str(s), Pos: s.Pos(),
			Visibility: conf.Visibility(s).String(), Depends: conf.Eval(s.DirectDep()).String(),
		}
		if u, ok := conf.User(s); ok {
			v.User = &u
		}
		if s.Choice != nil {
			v.Choice = s.Choice.Prompt()
		}
		out.Symbols = append(out.Symbols, v)
	}
	out.Warnings = append(append(out.Warnings, tree.Warnings()...), conf.Warnings()...)
	return out
}

func (v *kconfigValues) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, s := range v.Symbols {
		mark := " "
		switch {
		case s.User != nil:
			mark = "u"
		case s.Depends == "n":
			mark = "-"
		case s.Visibility != "n":
			mark = "*"
		}
		value := s.Value
		if s.Type == "string" {
			value = fmt.Sprintf("%q", value)
		}
		fmt.Fprintf(tw, "%s %s\t%s\t%s\t%s\n", mark, s.Name, s.Type, value, s.Pos)
	}
	return tw.Flush()
}

func kconfigExplainCommand(env Env) *cobra.Command {
	var k kconfigFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain SYMBOL",
		Short: "Tell why a symbol has its value",
		Long: `Tell why a symbol has its value: set by the user, a default, a select or imply,
its choice; and which lines keep its dependencies or its prompt from holding.
` + kconfigHelp,
		Example: `  pvkit kconfig explain KAS_INCLUDE_MACHINE_RPI
  pvkit kconfig explain --set BUILD_TYPE_APPENGINE=y BUILD_BSP
  pvkit kconfig explain --from .config.yaml KAS_TARGET_IMAGE`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			conf, err := k.configure(env)
			if err != nil {
				return err
			}
			e, err := conf.Explain(args[0])
			if none, ok := errors.AsType[*kconfig.ErrNoSymbol](err); ok {
				return usageError{none}
			}
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(env.Stdout, e)
			}
			_, err = io.WriteString(env.Stdout, e.String())
			return err
		},
	}
	k.register(c)
	k.registerSet(c)
	k.registerFrom(c, "")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
