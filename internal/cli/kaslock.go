package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/kas"
)

// remoteFlags say who answers for branches and tags.
type remoteFlags struct{ offline bool }

func (r *remoteFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&r.offline, "offline", false, "ask no remote: use what is pinned, and say what is not")
}

// remote is nil when none may be asked.
func (r *remoteFlags) remote(env Env) (kas.Remote, error) {
	if r.offline {
		return nil, nil
	}
	mirrors, err := kas.ParseMirrors(env.Getenv("KAS_PREMIRRORS"))
	if err != nil {
		return nil, fmt.Errorf("KAS_PREMIRRORS: %w", err)
	}
	return &kas.Git{Mirrors: mirrors}, nil
}

const remoteHelp = `
Commits come from "git ls-remote"; nothing is cloned. KAS_PREMIRRORS maps URLs
to others that are asked instead, as in kas.`

func kasLock(env Env) *cobra.Command {
	var k kasFlags
	var rf remoteFlags
	var dry, asJSON bool
	c := &cobra.Command{
		Use:   "lock CHAIN",
		Short: "Pin branches and tags to commits in lock files",
		Long: `Pin every repository that follows a branch or a tag to its commit. As in kas,
pins are updated in the lock file that has them, new ones go to the lock file
beside the first file of the chain, and lock files of other repositories are
left alone. Pinned repositories stay as they are without --update.
` + remoteHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			remote, err := rf.remote(env)
			if err != nil {
				return err
			}
			r, err := k.resolver(env, asJSON, firstFile(args[0]))
			if err != nil {
				return err
			}
			res, err := r.Lock(c.Context(), args[0], remote)
			if err != nil {
				return err
			}
			if !dry {
				for _, f := range res.Files {
					if err := atomicfile.WriteFile("/"+f.Path, []byte(f.Content), modeOf("/"+f.Path)); err != nil {
						return err
					}
				}
			}
			if asJSON {
				return json.NewEncoder(env.Stdout).Encode(map[string]any{"changes": append([]kas.LockChange{}, res.Changes...), "external": res.External})
			}
			return writeLock(env.Stdout, res, dry)
		},
	}
	k.register(c)
	rf.register(c)
	c.Flags().BoolVarP(&dry, "dry-run", "n", false, "say what would change and write nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func writeLock(w io.Writer, res *kas.LockResult, dry bool) error {
	for _, ch := range res.Changes {
		old := ch.Old
		if old == "" {
			old = "new"
		}
		if _, err := fmt.Fprintf(w, "%s: %s: %s -> %s\n", ch.File, ch.Repo, old, ch.New); err != nil {
			return err
		}
	}
	for _, d := range res.External {
		if _, err := fmt.Fprintln(w, d); err != nil {
			return err
		}
	}
	var err error
	switch {
	case len(res.Changes) == 0:
		_, err = fmt.Fprintln(w, "nothing to lock")
	case dry:
		_, err = fmt.Fprintln(w, "nothing was written")
	}
	return err
}

// modeOf keeps the mode of a file that is replaced.
func modeOf(name string) fs.FileMode {
	if info, err := os.Stat(name); err == nil {
		return info.Mode().Perm()
	}
	return 0o644
}

func kasPin(env Env) *cobra.Command {
	var k kasFlags
	var rf remoteFlags
	var output, keepFile string
	c := &cobra.Command{
		Use:   "pin CHAIN",
		Short: "Write a release file: one flat configuration with every repository at a commit",
		Long: `Write what "kas dump --resolve-refs" prints: one configuration without
includes, every repository at a commit. With --keep, the commits of an earlier
release file stay wherever url, branch and tag are the same, so that a change
of structure does not move any source. With -o the file is replaced at once
when everything is known, and left alone otherwise.
` + remoteHelp,
		Example: `  pvkit kas pin -o release/rpi.yaml --keep release/rpi.yaml kas/machines/rpi.yaml:kas/scarthgap.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			remote, err := rf.remote(env)
			if err != nil {
				return err
			}
			config, err := k.resolve(c, env, args[0])
			if err != nil {
				return err
			}
			keep, err := k.earlier(c, env, keepFile)
			if err != nil {
				return err
			}
			pins, kept, err := config.Pin(c.Context(), remote, keep)
			if err != nil {
				return err
			}
			out, err := config.Dump(kas.DumpOptions{Commits: pins})
			if err != nil {
				return err
			}
			if output == "" {
				_, err = io.WriteString(env.Stdout, out)
				return err
			}
			if err := atomicfile.WriteFile(output, []byte(out), modeOf(output)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stderr, "pvkit: %s: %d repositories, %d of them kept\n", output, len(pins), kept)
			return err
		},
	}
	k.register(c)
	rf.register(c)
	c.Flags().StringVarP(&output, "output", "o", "", "write to a `file` (default: standard output)")
	c.Flags().StringVar(&keepFile, "keep", "", "keep the commits of an earlier release `file`; it need not exist")
	return c
}

// earlier reads the release file whose pins are kept.
func (k *kasFlags) earlier(c *cobra.Command, env Env, name string) (*kas.Config, error) {
	if name == "" {
		return nil, nil
	}
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	r, err := k.resolver(env, true, name)
	if err != nil {
		return nil, err
	}
	config, err := r.Resolve(c.Context(), name)
	if err != nil {
		return nil, fmt.Errorf("read the pins of %s: %w", name, err)
	}
	return config, nil
}
