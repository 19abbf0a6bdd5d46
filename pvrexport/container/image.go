package container

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// Compressions lists the codecs by the names that Image.Compression takes.
func Compressions() []string { return codecNames() }

func presetNames() []string {
	var out []string
	for _, p := range squashfs.Presets() {
		out = append(out, p.Name)
	}
	return out
}

// codec is a compression as people name it.
type codec struct {
	id squashfs.Compression
	hc bool
}

var codecs = map[string]codec{
	"gzip":  {id: squashfs.Gzip},
	"zstd":  {id: squashfs.Zstd},
	"xz":    {id: squashfs.XZ},
	"lz4":   {id: squashfs.LZ4},
	"lz4hc": {squashfs.LZ4, true},
	"none":  {id: squashfs.None},
}

func codecNames() []string { return slices.Sorted(maps.Keys(codecs)) }

func imageTarget(i *Image) target {
	return object(&i.Pos, []key{
		{"preset", "Named settings; the other keys change them.", text(&i.Preset, oneOf(presetNames()...)), false},
		{"compression", "Codec.", text(&i.Compression, oneOf(codecNames()...)), false},
		{"block_size", "Bytes that are compressed at a time: a power of two from 4K to 1M.", size(&i.BlockSize), false},
		{"level", "Effort of gzip (1 to 9), zstd (1 to 22) or xz (1 to 9).", integer(&i.Level, 1, 22), false},
		{"exclude", "Paths that are left out of the finished tree.", texts(&i.Exclude), false},
		{"rules", "Changes to paths of the finished tree.", rulesTarget(&i.Rules), false},
	})
}

// Over lays the settings that o has over those of i.
func (i Image) Over(o Image) Image {
	if o.Preset != "" {
		// A preset named later replaces the whole choice of codec.
		i.Preset, i.Compression, i.BlockSize, i.Level = o.Preset, "", 0, 0
	}
	if o.Compression != "" {
		i.Compression, i.Level = o.Compression, 0
	}
	if o.BlockSize != 0 {
		i.BlockSize = o.BlockSize
	}
	if o.Level != 0 {
		i.Level = o.Level
	}
	i.NoFragments = i.NoFragments || o.NoFragments
	i.TailPacking = i.TailPacking || o.TailPacking
	i.NoDuplicates = i.NoDuplicates || o.NoDuplicates
	i.NoExport = i.NoExport || o.NoExport
	i.NoXattrs = i.NoXattrs || o.NoXattrs
	i.Exclude = slices.Concat(i.Exclude, o.Exclude)
	i.Rules = slices.Concat(i.Rules, o.Rules)
	return i
}

// Validate reports settings that cannot be, alone or together.
func (i Image) Validate() error {
	o, err := i.options()
	if err != nil {
		return err
	}
	return o.Validate()
}

// options turns the settings into those of the image writer.
func (i Image) options() (squashfs.Options, error) {
	name := i.Preset
	if name == "" {
		name = presetNames()[0]
	}
	o, ok := squashfs.Preset(name)
	if !ok {
		return o, fmt.Errorf("unknown preset %q: want one of %s", name, strings.Join(presetNames(), ", "))
	}
	if i.Compression != "" {
		c, ok := codecs[i.Compression]
		if !ok {
			return o, fmt.Errorf("unknown compression %q: want one of %s", i.Compression, strings.Join(codecNames(), ", "))
		}
		o.Compression, o.HC, o.Level = c.id, c.hc, 0
	}
	if i.BlockSize != 0 {
		o.BlockSize = int(i.BlockSize)
	}
	if i.Level != 0 {
		o.Level = int(i.Level)
	}
	o.NoFragments, o.TailPacking, o.NoDuplicates = i.NoFragments, i.TailPacking, i.NoDuplicates
	o.NoExport, o.NoXattrs = i.NoExport, i.NoXattrs
	return o, nil
}
