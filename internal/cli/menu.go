package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pvkit/pvkit/kas/menu/tui"
)

func menuCommand(env Env) *cobra.Command {
	var m menuFlags
	c := &cobra.Command{
		Use:   "menu",
		Short: "Choose a configuration in a menu, and see what it leads to",
		Long: `Choose a configuration in the menu of a Kconfig file, as with kas menu, and save
it as .config.yaml. Below the menu stand the kas files and the targets that the
choice leads to; ? tells why an entry has its value or cannot be set, a shows
the entries that cannot be set, / searches names and prompts.
` + kconfigHelp,
		Example: `  pvkit menu && kas build`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			in, ok := terminalOf(env.Stdin)
			if !ok || !term.IsTerminal(int(in.Fd())) {
				return usagef("pvkit menu needs a terminal; pvkit kconfig config --set works without one")
			}
			s, err := m.open(env)
			if err != nil {
				return err
			}
			save, err := tui.Run(c.Context(), tui.Options{Config: s.conf, Dialect: s.dialect, In: in, Out: env.Stdout})
			if err != nil {
				return err
			}
			if !save {
				_, err = fmt.Fprintln(env.Stdout, "nothing saved")
				return err
			}
			return s.saveAndSay(env, fmt.Sprintf(", for the %s dialect of kas", s.dialect))
		},
	}
	m.register(c)
	return c
}

// terminalOf is the file behind standard input: the menu reads its keys, and
// ends with the context by itself.
func terminalOf(r io.Reader) (*os.File, bool) {
	if in, wrapped := r.(*input); wrapped {
		r = in.r
	}
	f, ok := r.(*os.File)
	return f, ok
}
