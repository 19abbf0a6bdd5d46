package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/kconfig"
)

// The dialects of kas, as --dialect names them.
const (
	stockDialect    = "stock"
	pantacorDialect = "pantacor"
)

// dialect says which kas a Kconfig file is for. KAS_LOCAL_* symbols mean
// something in the pantacor fork only, so a file that has some was made for it.
func (k *kconfigFlags) kasDialect(t *kconfig.Tree) (name, why string, err error) {
	switch k.dialect {
	case stockDialect, pantacorDialect:
		return k.dialect, "", nil
	case "":
	default:
		return "", "", usagef("--dialect %s: want %s or %s", k.dialect, stockDialect, pantacorDialect)
	}
	for _, s := range t.Symbols {
		if s.Defined() && strings.HasPrefix(s.Name, kconfig.LocalPrefix) {
			return pantacorDialect, fmt.Sprintf("%s is defined at %s", s.Name, s.Pos()), nil
		}
	}
	return stockDialect, "no " + kconfig.LocalPrefix + "* symbol is defined", nil
}

func (k *kconfigFlags) registerDialect(c *cobra.Command) {
	c.Flags().StringVar(&k.dialect, "dialect", "", "the kas that runs the menu: stock or pantacor (default: guessed from the file)")
}

func kconfigCheckCommand(env Env) *cobra.Command {
	var k kconfigFlags
	o := &lintOptions{}
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Look for what parses and cannot have been meant",
		Long: `Look for what parses and cannot have been meant: a string tested as a bool, a
string in a bool choice, a choice that a filter leaves empty, symbols that
nothing reads, files that do not exist, machines without a symbol, names that
nobody defines, environment variables in strings, and KAS_LOCAL_* symbols for a
kas that does not know them.
` + kconfigHelp + `

Exit code 1 means that something was found.`,
		Example: `  pvkit kconfig check
  pvkit kconfig check --dialect stock --format sarif`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if asJSON {
				o.format = "json"
			}
			report, err := newReporter(o)
			if err != nil {
				return usageError{err}
			}
			tree, fsys, err := k.load()
			if err != nil {
				return err
			}
			dialect, why, err := k.kasDialect(tree)
			if err != nil {
				return err
			}
			found, err := kconfig.Check(tree, kconfig.Project{FS: fsys, Stock: dialect == stockDialect})
			if err != nil {
				return err
			}
			if why != "" {
				fmt.Fprintf(env.Stderr, "pvkit: checked for the %s dialect of kas: %s\n", dialect, why)
			}
			if err := report(env.Stdout, &findings{list: found}); err != nil {
				return err
			}
			if len(found) > 0 {
				return ErrFindings
			}
			return nil
		},
	}
	k.register(c)
	k.registerDialect(c)
	c.Flags().StringVar(&o.format, "format", "oneline", "text, oneline, json, jsonl, sarif, github or junit")
	c.Flags().BoolVar(&asJSON, "json", false, "the same as --format json")
	return c
}
