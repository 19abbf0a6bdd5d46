package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/runtime/pvtx"
)

// txFlags are those of every tx command.
type txFlags struct {
	dir    string
	socket string
}

func txCommand(env Env) *cobra.Command {
	var flags txFlags
	c := &cobra.Command{
		Use:   "tx",
		Short: "Put a new revision together from bundles, as pvtx does",
		Long: `Put a new revision together: begin with a state, add bundles, remove parts, and
end with commit or deploy.

A remote transaction sends objects to a running Pantavisor as they are added,
and commit gives it the step. A local one, begun with a directory for objects,
ends with deploy, which makes a revision's directory of it.

Adding a signed part replaces what its signature covers, and what the old one
covered; an unsigned one replaces only the files that it carries. Names are
compared whole: "app" does not hit "app-2".

The transaction lies in a directory: --dir, or PVTXDIR, or for root
$PREFIX/var/cache/pvtx, for others ~/.local/share/pvtx. The file there is our
own; do not share the directory with the runtime's pvtx, which empties it when
it begins.`,
		Example: `  pvkit tx begin empty objects
  pvkit tx add out/*.pvrexport.tgz
  pvkit tx deploy trails/0

  pvkit tx begin current
  pvkit tx remove old-app
  cat app.pvrexport.tgz | pvkit tx add -
  pvkit tx commit locals/next`,
	}
	c.PersistentFlags().StringVar(&flags.dir, "dir", "", "the `directory` of the transaction (default: PVTXDIR, or pvtx's own)")
	c.PersistentFlags().StringVar(&flags.socket, "socket", "", "pv-ctrl's `socket` (default: where the runtime has it)")
	_ = c.MarkPersistentFlagDirname("dir")
	c.AddCommand(
		txBegin(env, &flags), txAdd(env, &flags), txRemove(env, &flags), txShow(env, &flags),
		txStatus(env, &flags), txAbort(env, &flags), txCommit(env, &flags), txDeploy(env, &flags), txQueue(env, &flags),
	)
	return c
}

// with runs f on the transaction.
func (fl *txFlags) with(ctx context.Context, env Env, f func(*pvtx.Tx) error) (err error) {
	dir, err := fl.directory(env)
	if err != nil {
		return err
	}
	places := sockets(env)
	if fl.socket != "" {
		places = []string{fl.socket}
	}
	tx, err := pvtx.Open(ctx, dir, pvtx.Options{Remote: pvtx.NewPVControl(places...)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Close()) }()
	return f(tx)
}

// directory is where pvtx keeps its transaction (pvtx_txn.c, get_pvtxdir).
func (fl *txFlags) directory(env Env) (string, error) {
	if fl.dir != "" {
		return fl.dir, nil
	}
	if dir := env.Getenv("PVTXDIR"); dir != "" {
		return dir, nil
	}
	if os.Geteuid() == 0 {
		return filepath.Join("/", env.Getenv("PREFIX"), "var/cache/pvtx"), nil
	}
	home := env.Getenv("HOME")
	if home == "" {
		return "", usagef("tx: neither --dir nor PVTXDIR nor HOME says where the transaction lies")
	}
	return filepath.Join(home, ".local/share/pvtx"), nil
}

func txBegin(env Env, flags *txFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "begin empty|current|PATH [OBJECTS]",
		Short: "Start a transaction",
		Long: `Start a transaction from the empty state, from the state that the device runs
("current"), or from PATH: the directory of a revision, or a state's file.

OBJECTS is a directory: the transaction is local, and objects are stored there.
Without it the transaction is remote. One on top of 'pvkit tx queue new' is
local and has the queue's directory.`,
		Example: `  pvkit tx begin empty objects
  pvkit tx begin current
  pvkit tx begin trails/0 objects`,
		Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return []string{"empty\tthe empty state", "current\tthe state that the device runs"}, cobra.ShellCompDirectiveDefault
			}
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(c *cobra.Command, args []string) error {
			objects := ""
			if len(args) == 2 {
				if objects = args[1]; objects == "" {
					return usagef("begin: the directory for objects is empty")
				}
			}
			return flags.with(c.Context(), env, func(tx *pvtx.Tx) error { return tx.Begin(c.Context(), args[0], objects) })
		},
	}
}

// txAdded is what `pvkit tx add --json` prints for a file.
type txAdded struct {
	File    string   `json:"file"`
	Parts   []string `json:"parts"`
	Files   int      `json:"files"` // of the state
	Objects int      `json:"objects"`
	Missing []string `json:"missing"`
}

func txAdd(env Env, flags *txFlags) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "add FILE...",
		Short: "Add bundles, or states",
		Long: `Add bundles to the transaction, in the order given: tar, plain or packed with
gzip, bzip2 or zstd. A FILE may also be a state by itself, whose objects are
there already. "-" is standard input.

Every digest is checked. A file that cannot be added changes nothing; those
before it stay added.`,
		Example: `  pvkit tx add app.pvrexport.tgz device.json
  curl -s https://example.com/app.tgz | pvkit tx add -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := readOnce(args); err != nil {
				return err
			}
			return flags.with(c.Context(), env, func(tx *pvtx.Tx) error {
				for _, name := range args {
					var added *pvtx.Added
					err := openTxFile(env, name, func(r io.Reader) (err error) {
						added, err = tx.Add(c.Context(), r)
						return err
					})
					if err != nil {
						return fmt.Errorf("add %s: %w", name, err)
					}
					if err := reportAdded(env, name, added, asJSON); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each file")
	return c
}

func openTxFile(env Env, name string, f func(io.Reader) error) (err error) {
	if name == "-" {
		return f(env.Stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return f(file)
}

func reportAdded(env Env, name string, added *pvtx.Added, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(env.Stdout).Encode(txAdded{
			File: name, Parts: append([]string{}, added.State.Parts()...), Files: added.State.Len() - 1,
			Objects: len(added.State.Objects()), Missing: append([]string{}, added.Missing...),
		})
	}
	if n := len(added.Missing); n > 0 {
		fmt.Fprintf(env.Stderr, "pvkit: %s lacks %s that the transaction's directory does not have either, such as %s; deploy needs them\n",
			name, count(n, "object"), added.Missing[0])
	}
	return nil
}

func txRemove(env Env, flags *txFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "remove PART...",
		Short: "Remove parts",
		Long: `Remove parts: the files of each, its overlay, its signature and what that
covers. _sigs/PART.json removes what the signature covers, _config/PART the
overlay. What another signature covers stays.`,
		Example: `  pvkit tx remove old-app
  pvkit tx remove _sigs/config.json`,
		Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: func(c *cobra.Command, _ []string, _ string) (parts []string, _ cobra.ShellCompDirective) {
			// A shell that completes a word must not wait for another command.
			ctx, cancel := context.WithTimeout(c.Context(), 200*time.Millisecond)
			defer cancel()
			_ = flags.with(ctx, env, func(tx *pvtx.Tx) error {
				state, err := tx.State()
				if err == nil {
					parts = state.Parts()
				}
				return err
			})
			return parts, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			return flags.with(c.Context(), env, func(tx *pvtx.Tx) error {
				for _, part := range args {
					if err := tx.Remove(part); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func txShow(env Env, flags *txFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Print the transaction's state",
		Long:    `Print the state that the transaction has come to, as canonical JSON.`,
		Example: `  pvkit tx show | jq keys`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return flags.with(c.Context(), env, func(tx *pvtx.Tx) error {
				state, err := tx.State()
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(env.Stdout, "%s\n", state.Encode())
				return err
			})
		},
	}
}

func txStatus(env Env, flags *txFlags) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Say whether there is a transaction, and of which kind",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return flags.with(c.Context(), env, func(tx *pvtx.Tx) error {
				status := tx.Status()
				if asJSON {
					return json.NewEncoder(env.Stdout).Encode(status)
				}
				_, err := fmt.Fprintln(env.Stdout, describeTx(status))
				return err
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

func describeTx(s pvtx.Status) string {
	switch s.Phase {
	case pvtx.Active:
		if s.Local() {
			return "a local transaction is active; its objects are in " + s.Objects
		}
		return "a remote transaction is active"
	case pvtx.Queueing:
		return "no transaction is active; there is a queue in " + s.Queue
	case pvtx.Committed:
		return "no transaction is active; the last one became " + s.Revision
	case pvtx.Deployed:
		return "no transaction is active; the last one was deployed to " + s.Revision
	}
	return "no transaction is active"
}

func txAbort(env Env, flags *txFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "abort",
		Short: "Forget the transaction",
		Long: `Forget the transaction and the queue, if there are any. Objects that were stored
stay.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return flags.with(c.Context(), env, func(tx *pvtx.Tx) error { return tx.Abort() })
		},
	}
}

func txCommit(env Env, flags *txFlags) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "commit [locals/NAME]",
		Short: "End a remote transaction: give the device the step",
		Long: `End a remote transaction: the device gets the state as a step, and its name is
printed. Without a name, one is made up of the time and the content. The step
does not run yet: 'pvcontrol commands run NAME' does that.`,
		Example: `  pvcontrol commands run "$(pvkit tx commit)"`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				if name = args[0]; name == "" {
					return usagef("commit: the name is empty")
				}
			}
			return flags.with(c.Context(), env, func(tx *pvtx.Tx) error {
				rev, err := tx.Commit(c.Context(), name)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(env.Stdout).Encode(struct {
						Revision string `json:"revision"`
					}{rev})
				}
				_, err = fmt.Fprintln(env.Stdout, rev)
				return err
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

func txDeploy(env Env, flags *txFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "deploy DIR",
		Short: "End a local transaction: make a revision's directory",
		Long: `End a local transaction: DIR becomes a revision's directory, with links to the
objects, JSON files, and the state in .pvr/json. What was at DIR is replaced
whole, or stays.`,
		Example: `  pvkit tx deploy storage/trails/0`,
		Args:    cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(c *cobra.Command, args []string) error {
			return flags.with(c.Context(), env, func(tx *pvtx.Tx) error { return tx.Deploy(c.Context(), args[0]) })
		},
	}
}
