package cli

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/runtime/pvtx"
)

func txQueue(env Env, flags *txFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "queue",
		Short: "Collect what to add and remove, and apply it at once",
		Long: `A queue is a directory that collects bundles and removals, in their order, before
there is a transaction. process applies it to one: all of it, or nothing.`,
		Example: `  pvkit tx queue new queue objects
  pvkit tx queue remove old-app
  pvkit tx queue unpack app.pvrexport.tgz
  pvkit tx queue process trails/0
  pvkit tx deploy trails/1`,
	}
	c.AddCommand(txQueueNew(env, flags), txQueueRemove(env, flags), txQueueUnpack(env, flags), txQueueProcess(env, flags))
	return c
}

func txQueueNew(env Env, flags *txFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "new QUEUE OBJECTS",
		Short: "Make a queue in a directory",
		Long: `Make a queue in the directory QUEUE, or take up the one that is there. The
objects of its bundles go to the directory OBJECTS.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return flags.with(c.Context(), env, func(tx *pvtx.Tx) error { return newQueue(tx, args[0], args[1]) })
		},
	}
}

func newQueue(tx *pvtx.Tx, queue, objects string) error {
	if queue == "" || objects == "" {
		return usagef("queue: the name of a directory is empty")
	}
	return tx.NewQueue(queue, objects)
}

func txQueueRemove(env Env, flags *txFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "remove PART...",
		Short: "Append the removal of parts",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return flags.with(c.Context(), env, func(tx *pvtx.Tx) error {
				for _, part := range args {
					if err := tx.QueueRemove(part); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func txQueueUnpack(env Env, flags *txFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "unpack FILE...",
		Short: `Append bundles, or states; "-" is standard input`,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := readOnce(args); err != nil {
				return err
			}
			return flags.with(c.Context(), env, func(tx *pvtx.Tx) error {
				for _, name := range args {
					label := filepath.Base(name)
					if name == "-" {
						label = "package"
					}
					var added *pvtx.Added
					err := openTxFile(env, name, func(r io.Reader) (err error) {
						added, err = tx.QueueUnpack(c.Context(), label, r)
						return err
					})
					if err != nil {
						return fmt.Errorf("unpack %s: %w", name, err)
					}
					if err := reportAdded(env, name, added, false); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func txQueueProcess(env Env, flags *txFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "process [empty|current|PATH [QUEUE OBJECTS]]",
		Short: "Apply the queue to the transaction",
		Long: `Apply the queue to the active transaction. With a state to begin from, begin
the transaction first; with QUEUE and OBJECTS, take up that queue before.`,
		Args: cobra.MaximumNArgs(3),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 2 {
				return usagef("process: a queue needs the directory for its objects, too")
			}
			return flags.with(c.Context(), env, func(tx *pvtx.Tx) error {
				if len(args) == 3 {
					if err := newQueue(tx, args[1], args[2]); err != nil {
						return err
					}
				}
				if len(args) > 0 {
					if err := tx.Begin(c.Context(), args[0], ""); err != nil {
						return err
					}
				}
				return tx.Process(c.Context())
			})
		},
	}
}
