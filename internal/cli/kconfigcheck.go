package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/kas/menu"
	"github.com/pvkit/pvkit/kconfig"
)

// kasDialect says which kas a Kconfig file is for; why is "" when the user
// said so.
func (k *kconfigFlags) kasDialect(t *kconfig.Tree) (d kas.Dialect, why string, err error) {
	if k.dialect == "" {
		d, why = menu.GuessDialect(t)
		return d, why, nil
	}
	if d, err = kas.ParseDialect(k.dialect); err != nil {
		return 0, "", usageError{err}
	}
	return d, "", nil
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
			found, err := kconfig.Check(tree, kconfig.Project{FS: fsys, Stock: dialect == kas.Stock})
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
