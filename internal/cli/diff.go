package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// change is a difference of two bundles, as `pvkit diff` prints it.
type change struct {
	Key  string `json:"key"`
	Kind string `json:"kind"` // added, removed, changed
	// What is a place within the file: a JSON path, a path of an image with
	// the property that differs, a line. Empty means the file as a whole.
	What string `json:"what,omitempty"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

func diffCommand(env Env) *cobra.Command {
	var asJSON, brief, times bool
	c := &cobra.Command{
		Use:   "diff A B",
		Short: "Show how two bundles differ",
		Long: `Show how two bundles differ: files of the state that came, went or changed, and
within them the members of JSON files, the lines of text files, and the files of
root filesystems with their modes, owners and contents.

Exit code 1 means that there are differences.`,
		Example: `  pvkit diff old.pvrexport.tgz new.pvrexport.tgz
  pvkit diff --json a.tgz b.tgz | jq -r .key | sort -u`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if err := readOnce(args); err != nil {
				return err
			}
			var bundles [2]*pvrexport.Bundle
			for i, name := range args {
				if bundles[i], err = openBundle(c.Context(), env, name); err != nil {
					return err
				}
				defer func(b *pvrexport.Bundle) { err = errors.Join(err, b.Close()) }(bundles[i])
			}
			changes, err := diffBundles(c.Context(), bundles[0], bundles[1], brief, times)
			if err != nil {
				return err
			}
			return writeChanges(env.Stdout, changes, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object a line")
	c.Flags().BoolVar(&brief, "brief", false, "only name the files that differ")
	c.Flags().BoolVar(&times, "times", false, "compare the times of files in root filesystems, too")
	return c
}

func writeChanges(w io.Writer, changes []change, asJSON bool) error {
	for _, c := range changes {
		var err error
		if asJSON {
			err = json.NewEncoder(w).Encode(c)
		} else {
			_, err = io.WriteString(w, c.text())
		}
		if err != nil {
			return err
		}
	}
	if len(changes) > 0 {
		return ErrFindings
	}
	return nil
}

func (c change) text() string {
	mark := map[string]string{"added": "+", "removed": "-", "changed": "~"}[c.Kind]
	line := mark + " " + printable(c.Key)
	if c.What != "" {
		line += ": " + printable(c.What)
	}
	switch {
	case c.Old != "" && c.New != "":
		line += ": " + c.Old + " -> " + c.New
	case c.Old != "":
		line += ": " + c.Old
	case c.New != "":
		line += ": " + c.New
	}
	return line + "\n"
}

func diffBundles(ctx context.Context, a, b *pvrexport.Bundle, brief, times bool) ([]change, error) {
	var out []change
	for _, d := range pvrexport.Diff(a.State, b.State) {
		whole := change{Key: d.Key, Kind: d.Kind.String()}
		if d.Kind != pvrexport.Changed || brief {
			out = append(out, whole)
			continue
		}
		parts, err := diffFile(ctx, a, b, d, times)
		if err != nil {
			return nil, fmt.Errorf("compare %s: %w", d.Key, err)
		}
		if len(parts) == 0 { // the same content in another form
			whole.Old, whole.New = short(d.Old), short(d.New)
			parts = []change{whole}
		}
		out = append(out, parts...)
	}
	return out, nil
}

func short(v pvrexport.Value) string {
	if id, ok := v.Object(); ok {
		return id[:12]
	}
	return v.String()
}

// diffFile looks into a file that changed.
func diffFile(ctx context.Context, a, b *pvrexport.Bundle, d pvrexport.Change, times bool) ([]change, error) {
	oldID, oldObject := d.Old.Object()
	newID, newObject := d.New.Object()
	if !oldObject && !newObject {
		return diffJSON(d)
	}
	if !oldObject || !newObject {
		return nil, nil
	}
	ra, err := a.Object(oldID)
	if err != nil {
		return nil, err
	}
	rb, err := b.Object(newID)
	if err != nil {
		return nil, err
	}
	if ima, err := squashfs.Open(ra, ra.Size()); err == nil {
		if imb, err := squashfs.Open(rb, rb.Size()); err == nil {
			return diffImages(ctx, d.Key, ima, imb, times)
		}
	}
	return diffText(d.Key, ra, rb)
}

func diffImages(ctx context.Context, key string, a, b *squashfs.Image, times bool) ([]change, error) {
	ta, err := a.Tree(ctx)
	if err != nil {
		return nil, err
	}
	tb, err := b.Tree(ctx)
	if err != nil {
		return nil, err
	}
	diffs, err := rootfs.Compare(ctx, ta, tb, rootfs.CompareOptions{IgnoreTimes: !times})
	if err != nil {
		return nil, err
	}
	var out []change
	for _, d := range diffs {
		c := change{Key: key, Kind: "changed", What: d.Path + " " + d.What, Old: d.A, New: d.B}
		if d.What == "exists" {
			c.What = d.Path
			c.Kind = "added"
			if d.B == "" {
				c.Kind = "removed"
			}
		}
		out = append(out, c)
	}
	ia, ib := a.Info(), b.Info()
	for _, p := range [][3]string{
		{"compression", ia.Compression.String(), ib.Compression.String()},
		{"block size", fmt.Sprint(ia.BlockSize), fmt.Sprint(ib.BlockSize)},
	} {
		if p[1] != p[2] {
			out = append(out, change{Key: key, Kind: "changed", What: p[0], Old: p[1], New: p[2]})
		}
	}
	return out, nil
}

func diffJSON(d pvrexport.Change) ([]change, error) {
	var a, b any
	if err := errors.Join(d.Old.Unmarshal(&a), d.New.Unmarshal(&b)); err != nil {
		return nil, err
	}
	var out []change
	walkJSON("", a, b, func(path string, old, now any) {
		c := change{Key: d.Key, Kind: "changed", What: path}
		c.Old, c.New = jsonText(old), jsonText(now)
		switch {
		case old == absent{}:
			c.Kind, c.Old = "added", ""
		case now == absent{}:
			c.Kind, c.New = "removed", ""
		}
		out = append(out, c)
	})
	return out, nil
}

// absent stands for a member that one side does not have.
type absent struct{}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func walkJSON(path string, a, b any, report func(path string, a, b any)) {
	if reflect.DeepEqual(a, b) {
		return
	}
	switch av := a.(type) {
	case map[string]any:
		if bv, ok := b.(map[string]any); ok {
			keys := maps.Clone(av)
			maps.Copy(keys, bv)
			for _, k := range slices.Sorted(maps.Keys(keys)) {
				walkJSON(path+"."+k, member(av, k), member(bv, k), report)
			}
			return
		}
	case []any:
		if bv, ok := b.([]any); ok {
			for i := range max(len(av), len(bv)) {
				walkJSON(fmt.Sprintf("%s[%d]", path, i), element(av, i), element(bv, i), report)
			}
			return
		}
	}
	report(strings.TrimPrefix(path, "."), a, b)
}

func member(m map[string]any, k string) any {
	if v, ok := m[k]; ok {
		return v
	}
	return absent{}
}

func element(s []any, i int) any {
	if i < len(s) {
		return s[i]
	}
	return absent{}
}

const maxTextDiff = 1 << 20

// diffText lists the lines that only one of two text files has; files that are
// not text, or large, give nothing.
func diffText(key string, a, b io.Reader) ([]change, error) {
	ta, err := readText(a)
	if err != nil || ta == nil {
		return nil, err
	}
	tb, err := readText(b)
	if err != nil || tb == nil {
		return nil, err
	}
	var out []change
	for _, l := range linesOnlyIn(ta, tb) {
		out = append(out, change{Key: key, Kind: "removed", Old: l})
	}
	for _, l := range linesOnlyIn(tb, ta) {
		out = append(out, change{Key: key, Kind: "added", New: l})
	}
	return out, nil
}

func readText(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxTextDiff+1))
	if err != nil || len(b) > maxTextDiff || !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return nil, err
	}
	return b, nil
}

// linesOnlyIn returns the lines of a that b does not have, as often as a has
// them more than b.
func linesOnlyIn(a, b []byte) []string {
	count := map[string]int{}
	for l := range strings.Lines(string(b)) {
		count[strings.TrimSuffix(l, "\n")]++
	}
	var out []string
	for l := range strings.Lines(string(a)) {
		l = strings.TrimSuffix(l, "\n")
		if count[l]--; count[l] < 0 {
			out = append(out, printable(l))
		}
	}
	return out
}
