package cli

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/lint"
)

// mend applies the fixes of what --fail-on names, to the files, to standard
// input, or to a difference that is shown: a note may be meant as it is. It
// returns the findings that are left.
func (o *lintOptions) mend(env Env, all *findings, overlay map[string][]byte) ([]diag.Diagnostic, error) {
	texts := map[string][]byte{}
	var list, rest []diag.Diagnostic
	for _, d := range all.list {
		if d.Severity < severities[o.failOn] {
			rest = append(rest, d)
		} else {
			list = append(list, d)
		}
	}
	for _, d := range list {
		if d.Fix == nil {
			continue
		}
		for _, e := range d.Fix.Edits {
			if _, ok := texts[e.File]; ok {
				continue
			}
			text, ok := overlay[e.File]
			if !ok {
				var err error
				if text, err = os.ReadFile(e.File); err != nil {
					return nil, err
				}
			}
			texts[e.File] = text
		}
	}
	mended, left := lint.ApplyFixes(texts, list)
	left = append(left, rest...)
	diag.Sort(left)
	for _, name := range slices.Sorted(maps.Keys(mended)) {
		old, now := texts[name], mended[name]
		switch {
		case o.diff:
			if err := writeDiff(env.Stdout, shortName(name), old, now); err != nil {
				return nil, err
			}
		case overlay[name] != nil:
		case !bytes.Equal(old, now):
			if err := rewrite(name, now); err != nil {
				return nil, err
			}
		}
	}
	if o.fix {
		for name, text := range overlay {
			if now, ok := mended[name]; ok {
				text = now
			}
			if _, err := env.Stdout.Write(text); err != nil {
				return nil, err
			}
		}
	}
	return left, nil
}

// rewrite replaces a file and keeps its mode.
func rewrite(name string, text []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(name, text, info.Mode().Perm())
}

// writeDiff shows a change in unified form. A fix changes few lines and keeps
// their number or not; hunks are found by what differs at the same place.
func writeDiff(w io.Writer, name string, old, now []byte) error {
	if bytes.Equal(old, now) {
		return nil
	}
	if _, err := fmt.Fprintf(w, "--- a/%s\n+++ b/%s\n", name, name); err != nil {
		return err
	}
	_, err := w.Write(lint.UnifiedHunks(old, now))
	return err
}

func writeBaseline(name string, all *findings) error {
	var b bytes.Buffer
	if err := lint.WriteBaseline(&b, all.projects, all.list); err != nil {
		return err
	}
	return atomicfile.WriteFile(name, b.Bytes(), 0o644)
}
