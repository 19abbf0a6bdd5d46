package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

func inspectCommand(env Env) *cobra.Command {
	var asJSON, state, tree, pretty bool
	c := &cobra.Command{
		Use:   "inspect FILE[:CONTAINER]...",
		Short: "Show what is in a bundle",
		Long: `Show what is in a bundle: its containers with their groups, services, volumes
and root filesystems, and its signatures. Every digest is checked on the way;
'pvkit verify' checks the rest.

FILE is a bundle (tar, plain or packed with gzip or zstd; "-" is standard
input).`,
		Example: `  pvkit inspect app.pvrexport.tgz
  pvkit inspect --json app.pvrexport.tgz | jq '.containers[].name'
  pvkit inspect --state app.pvrexport.tgz        # the canonical state
  pvkit inspect --tree device.tgz:app            # every file of a container`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := readOnce(args); err != nil {
				return err
			}
			if err := exclusive(c, "state", "tree", "pretty-state"); err != nil {
				return err
			}
			if err := exclusive(c, "state", "pretty-state", "json"); err != nil {
				return err
			}
			for _, arg := range args {
				err := inspect(c.Context(), env, arg, func(t *target) error {
					switch {
					case state || pretty:
						return writeState(env.Stdout, t, pretty)
					case tree:
						return writeTrees(c.Context(), env.Stdout, t, asJSON)
					}
					return writeSummary(c.Context(), env.Stdout, t, asJSON)
				})
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&state, "state", false, "print the canonical state, as it is signed and stored")
	c.Flags().BoolVar(&pretty, "pretty-state", false, "print the state with line breaks and indentation")
	c.Flags().BoolVar(&tree, "tree", false, "list the root filesystems")
	return c
}

func inspect(ctx context.Context, env Env, arg string, show func(*target) error) (err error) {
	t, err := openTarget(ctx, env, arg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if t.container != "" {
		if _, err := t.imageKey(); err != nil {
			return err
		}
	}
	return show(t)
}

func writeState(w io.Writer, t *target, pretty bool) error {
	out := t.bundle.State.Encode()
	if pretty {
		var b bytes.Buffer
		if err := json.Indent(&b, out, "", "  "); err != nil {
			return err
		}
		b.WriteByte('\n')
		out = b.Bytes()
	}
	_, err := w.Write(out)
	return err
}

func writeTrees(ctx context.Context, w io.Writer, t *target, asJSON bool) error {
	keys := []string{}
	if t.container != "" {
		key, err := t.imageKey()
		if err != nil {
			return err
		}
		keys = append(keys, key)
	} else {
		for _, name := range withRoot(t.bundle.State) {
			keys = append(keys, rootVolume(t.bundle.State, name))
		}
	}
	for _, key := range keys {
		im, err := openImage(t.bundle, key)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", t.file, key, err)
		}
		tree, err := im.Tree(ctx)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", t.file, key, err)
		}
		if err := writeTree(w, key, tree, asJSON); err != nil {
			return err
		}
	}
	return nil
}

func writeTree(w io.Writer, key string, tree *rootfs.Tree, asJSON bool) error {
	if !asJSON {
		fmt.Fprintf(w, "%s:\n", key)
	}
	for name, n := range tree.All() {
		var err error
		if asJSON {
			err = json.NewEncoder(w).Encode(struct {
				Image string `json:"image"`
				listed
			}{key, list(name, n)})
		} else {
			err = writeLong(w, name, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func writeSummary(ctx context.Context, w io.Writer, t *target, asJSON bool) error {
	s, err := summarize(ctx, t)
	if err != nil {
		return fmt.Errorf("%s: %w", t.file, err)
	}
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	_, err = io.WriteString(w, s.text())
	return err
}

// text is the view for people: a line for the bundle, a block for each
// container.
func (s summary) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s, packed with %s\n", s.File, count(s.Objects, "object"), sizeText(s.ObjectSize), s.Compression)
	if !s.Canonical {
		b.WriteString("  the state is not in canonical form: devices cannot check its signatures\n")
	}
	for _, c := range s.Containers {
		c.text(&b)
	}
	for _, g := range s.Signatures {
		if g.Error != "" {
			fmt.Fprintf(&b, "\nsignature %s: unreadable: %s\n", g.Key, g.Error)
			continue
		}
		fmt.Fprintf(&b, "\nsignature %s: %s, covers %s without %s, %s\n",
			g.Key, g.Alg, orNone(g.Include), orNone(g.Exclude), count(g.Chain, "certificate"))
	}
	if len(s.Other) > 0 {
		fmt.Fprintf(&b, "\nother files: %s\n", strings.Join(s.Other, ", "))
	}
	return b.String()
}

func (c containerSummary) text(b *strings.Builder) {
	signed := "not signed"
	if c.Signed {
		signed = "signed"
	}
	fmt.Fprintf(b, "\n%s (%s)\n", c.Name, signed)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "  %-10s %s\n", name, value)
		}
	}
	row("group", c.Group)
	row("runlevel", c.Runlevel)
	row("restart", c.RestartPolicy)
	row("goal", c.StatusGoal)
	row("roles", string(c.Roles))
	row("pool", c.Pool)
	for _, im := range c.Images {
		row("image", im.text(c.Name))
	}
	for _, v := range c.Storage {
		row("storage", strings.TrimSpace(v.Name+" "+v.Persistence+" "+v.Disk))
	}
	for _, v := range c.Provides {
		row("provides", v.text(v.Socket))
	}
	for _, v := range c.Requires {
		row("requires", v.text(v.Target))
	}
	for _, v := range c.Optional {
		row("optional", v.text(v.Target))
	}
	row("config", strings.Join(c.Config, ", "))
}

func (im imageSummary) text(container string) string {
	name := strings.TrimPrefix(im.Key, container+"/")
	if im.Error != "" {
		return fmt.Sprintf("%s %s, unreadable: %s", name, sizeText(im.Size), im.Error)
	}
	return fmt.Sprintf("%s %s, %s in blocks of %s, %s", name, sizeText(im.Size), im.Compression, sizeText(int64(im.BlockSize)), count(im.Inodes, "inode"))
}

func (v service) text(at string) string {
	s := v.Name
	if v.Type != "" {
		s += " (" + v.Type + ")"
	}
	if at != "" {
		s += " at " + at
	}
	if v.Role != "" {
		s += " as " + v.Role
	}
	if v.Interface != "" {
		s += " for " + v.Interface
	}
	return s
}
