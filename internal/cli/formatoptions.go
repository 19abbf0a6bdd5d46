package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport/container"
)

// formatOption is an option of mksquashfs: how many words follow it, and what
// it does here. A nil set is one that changes nothing here.
type formatOption struct {
	words int
	set   func(f *formatOptions, word string) error
}

// formatOptions are what the options change.
type formatOptions struct {
	image     *container.Image
	layer     *container.Layer
	wildcards bool
	excludes  []string
}

// formatTable holds the options of mksquashfs 4.5 that are understood.
var formatTable = map[string]formatOption{
	"-comp": {1, func(f *formatOptions, w string) error {
		// The preset of that name has the codec in mksquashfs's block size.
		f.image.Preset = w
		if !slices.Contains(container.Compressions(), w) || w == "lz4hc" || w == "none" {
			return fmt.Errorf("-comp %s: want gzip, zstd, xz or lz4%s", w, didYouMean(w, container.Compressions()))
		}
		return nil
	}},
	"-b": {1, func(f *formatOptions, w string) (err error) {
		f.image.BlockSize, err = container.ParseSize(w)
		return err
	}},
	"-Xcompression-level": {1, func(f *formatOptions, w string) (err error) {
		f.image.Level, err = strconv.ParseInt(w, 10, 8)
		return err
	}},
	"-Xhc": {0, func(f *formatOptions, _ string) error {
		if f.image.Preset != "lz4" {
			return errors.New("-Xhc comes after -comp lz4")
		}
		f.image.Preset = "lz4hc"
		return nil
	}},
	"-Xdict-size": {1, func(_ *formatOptions, w string) error {
		if w != "100%" {
			return errors.New("-Xdict-size: the dictionary is always as large as a block (100%)")
		}
		return nil
	}},
	"-root-mode": {1, func(_ *formatOptions, w string) error {
		if strings.TrimLeft(w, "0") != "755" {
			return errors.New("-root-mode: the root directory always has 0755")
		}
		return nil
	}},
	"-all-root":   {0, rootOwned},
	"-root-owned": {0, rootOwned},
	"-no-fragments": {0, func(f *formatOptions, _ string) error {
		f.image.NoFragments = true
		return nil
	}},
	"-tailends": {0, func(f *formatOptions, _ string) error {
		f.image.TailPacking = true
		return nil
	}},
	"-always-use-fragments": {0, func(f *formatOptions, _ string) error {
		f.image.TailPacking = true
		return nil
	}},
	"-no-duplicates": {0, func(f *formatOptions, _ string) error {
		f.image.NoDuplicates = true
		return nil
	}},
	"-no-exports": {0, func(f *formatOptions, _ string) error {
		f.image.NoExport = true
		return nil
	}},
	"-no-xattrs": {0, func(f *formatOptions, _ string) error {
		f.image.NoXattrs = true
		return nil
	}},
	"-wildcards": {0, func(f *formatOptions, _ string) error {
		f.wildcards = true
		return nil
	}},
	"-xattrs": {}, "-exports": {}, "-no-tailends": {},
	"-noappend": {}, "-no-progress": {}, "-progress": {}, "-quiet": {}, "-info": {}, "-no-recovery": {}, "-reproducible": {},
	"-processors": {words: 1}, "-mem": {words: 1},
}

func rootOwned(f *formatOptions, _ string) error {
	f.layer.Owner, f.layer.OwnerMap = container.Owner{User: "0", Group: "0", Set: true}, nil
	return nil
}

// parseFormatOptions reads options as people write them for mksquashfs. What
// is not understood is an error: pvr ignores all of them for a root filesystem
// without a word (libpvr, AddRootFsApp), and an image that is not what was
// asked for is worse than none.
func parseFormatOptions(text string, image *container.Image, layer *container.Layer) error {
	words, err := splitWords(text)
	if err != nil {
		return err
	}
	f := &formatOptions{image: image, layer: layer}
	for i := 0; i < len(words); i++ {
		name := words[i]
		if name == "-e" {
			if err := f.exclude(words[i:]); err != nil {
				return err
			}
			break
		}
		o, ok := formatTable[name]
		if !ok {
			var known []string
			for n := range formatTable {
				known = append(known, n)
			}
			slices.Sort(known)
			return fmt.Errorf("%s is not supported%s", name, didYouMean(name, known))
		}
		if i+o.words >= len(words) {
			return fmt.Errorf("%s needs a value", name)
		}
		if o.set != nil {
			if err := o.set(f, words[i+o.words]); err != nil {
				return err
			}
		}
		i += o.words
	}
	for _, e := range f.excludes {
		if !f.wildcards {
			e = literal(e)
		}
		layer.Exclude = append(layer.Exclude, e)
	}
	return nil
}

// exclude takes what follows -e. For mksquashfs that is everything to the end,
// a second -e included; recipes write "-e a -e b" and it works by luck. An
// option there would be a path that does not exist, so it is refused.
func (f *formatOptions) exclude(words []string) error {
	for _, w := range words {
		switch {
		case w == "-e":
		case strings.HasPrefix(w, "-"):
			return fmt.Errorf("%s after -e: mksquashfs takes it for a path; put it before -e", w)
		default:
			f.excludes = append(f.excludes, w)
		}
	}
	if len(f.excludes) == 0 {
		return errors.New("-e needs a path")
	}
	return nil
}

// literal makes a path into a pattern that matches only itself.
func literal(path string) string {
	var b strings.Builder
	for i := range len(path) {
		if strings.IndexByte(`\*?[]()|!+@`, path[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

func didYouMean(word string, known []string) string {
	if near := diag.Nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}

// splitWords splits at blanks; '…', "…" and \ hold words together as in a
// shell.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	started, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			word.WriteByte(s[i])
			started = true
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, started = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if started {
				words = append(words, word.String())
			}
			word.Reset()
			started = false
		default:
			word.WriteByte(c)
			started = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("%q: a quote is not closed", s)
	}
	if started {
		words = append(words, word.String())
	}
	return words, nil
}
