package squashfs

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// Info is what the superblock and the compressor options say of an image.
type Info struct {
	Compression Compression
	Compressor  CompressorOptions
	BlockSize   int
	ModTime     time.Time
	Flags       Flags
	Inodes      int
	Fragments   int
	IDs         int
	Xattrs      int   // distinct sets of extended attributes
	BytesUsed   int64 // without the padding
	FileSize    int64 // with it
	Tables      []TableInfo
}

// TableInfo is the place of a table and the bytes that it takes.
type TableInfo struct {
	Name   string
	Offset int64
	Size   int64
}

// Flags are the superblock's flags.
type Flags struct {
	UncompressedInodes    bool
	UncompressedData      bool
	UncompressedFragments bool
	UncompressedXattrs    bool
	UncompressedIDs       bool
	NoFragments           bool
	AlwaysFragments       bool
	Duplicates            bool // equal files were looked for
	Exportable            bool
	NoXattrs              bool
	CompressorOptions     bool
}

// CompressorOptions is the decoded options block. The fields of other codecs
// are zero; Present says whether the image has the block at all, which it
// leaves out for the defaults (lz4 always has it).
type CompressorOptions struct {
	Present bool

	GzipLevel      int
	GzipWindow     int
	GzipStrategies []string

	ZstdLevel int

	XZDictSize int
	XZFilters  []string

	LZ4Version int
	LZ4HC      bool
}

// String is one line for people: "level 15".
func (o CompressorOptions) String() string {
	var p []string
	add := func(ok bool, format string, a ...any) {
		if ok {
			p = append(p, fmt.Sprintf(format, a...))
		}
	}
	add(o.GzipLevel != 0, "level %d", o.GzipLevel)
	add(o.GzipWindow != 0, "window %d", o.GzipWindow)
	add(len(o.GzipStrategies) > 0, "strategies %s", strings.Join(o.GzipStrategies, ","))
	add(o.ZstdLevel != 0, "level %d", o.ZstdLevel)
	add(o.XZDictSize != 0, "dictionary %d", o.XZDictSize)
	add(len(o.XZFilters) > 0, "filters %s", strings.Join(o.XZFilters, ","))
	add(o.LZ4Version != 0, "version %d", o.LZ4Version)
	add(o.LZ4HC, "high compression")
	if len(p) == 0 {
		return "defaults"
	}
	return strings.Join(p, ", ")
}

// The names of the bits, lowest first (squashfs-tools gzip_wrapper.h,
// xz_wrapper.h).
var (
	gzipStrategies = []string{"default", "filtered", "huffman_only", "run_length_encoded", "fixed"}
	xzBCJFilters   = []string{"x86", "powerpc", "ia64", "arm", "armthumb", "sparc"}
)

func bitNames(v uint32, names []string) []string {
	var out []string
	for i := range 32 {
		if v&(1<<i) == 0 {
			continue
		}
		if i < len(names) {
			out = append(out, names[i])
		} else {
			out = append(out, fmt.Sprintf("bit %d", i))
		}
	}
	return out
}

// optionsSize is how many bytes the options block of each codec holds.
var optionsSize = map[Compression]int{Gzip: 8, XZ: 8, LZ4: 8, Zstd: 4, LZO: 8}

// readOptions reads the compressor options block after the superblock. It is a
// metadata block, and mksquashfs never compresses it.
func (im *Image) readOptions() ([]byte, error) {
	want, ok := optionsSize[im.sb.Compression]
	if !ok {
		return nil, badf(superblockSize, "compressor options with %v, which has none", im.sb.Compression)
	}
	b, _, err := im.metaBlock(superblockSize, int64(im.sb.BytesUsed))
	if err != nil {
		return nil, fmt.Errorf("read the compressor options: %w", err)
	}
	if len(b) < want {
		return nil, badf(superblockSize, "compressor options of %d bytes, want %d for %v", len(b), want, im.sb.Compression)
	}
	return b, nil
}

func (im *Image) compressor() CompressorOptions {
	if im.options == nil {
		return CompressorOptions{}
	}
	o := CompressorOptions{Present: true}
	le, b := binary.LittleEndian, im.options
	switch im.sb.Compression {
	case Gzip:
		o.GzipLevel, o.GzipWindow = int(le.Uint32(b)), int(le.Uint16(b[4:]))
		o.GzipStrategies = bitNames(uint32(le.Uint16(b[6:])), gzipStrategies)
	case XZ:
		o.XZDictSize = int(le.Uint32(b))
		o.XZFilters = bitNames(le.Uint32(b[4:]), xzBCJFilters)
	case LZ4:
		o.LZ4Version, o.LZ4HC = int(le.Uint32(b)), le.Uint32(b[4:])&1 != 0
	case Zstd:
		o.ZstdLevel = int(le.Uint32(b))
	}
	return o
}

// Info describes the image without reading its contents.
func (im *Image) Info() Info {
	sb := &im.sb
	has := func(f uint16) bool { return sb.Flags&f != 0 }
	in := Info{
		Compression: sb.Compression,
		Compressor:  im.compressor(),
		BlockSize:   int(sb.BlockSize),
		ModTime:     modTime(int64(sb.ModTime)),
		Flags: Flags{
			UncompressedInodes:    has(flagUncompressedInodes),
			UncompressedData:      has(flagUncompressedData),
			UncompressedFragments: has(flagUncompressedFragments),
			UncompressedXattrs:    has(flagUncompressedXattrs),
			UncompressedIDs:       has(flagUncompressedIDs),
			NoFragments:           has(flagNoFragments),
			AlwaysFragments:       has(flagAlwaysFragments),
			Duplicates:            has(flagDuplicates),
			Exportable:            has(flagExportable),
			NoXattrs:              has(flagNoXattrs),
			CompressorOptions:     has(flagCompressorOptions),
		},
		Inodes:    int(sb.Inodes),
		Fragments: int(sb.Fragments),
		IDs:       int(sb.IDs),
		Xattrs:    int(im.xattr.count),
		BytesUsed: int64(sb.BytesUsed),
		FileSize:  im.size,
		Tables:    im.tables(),
	}
	// None has no number of its own: gzip that stores everything.
	if sb.Compression == Gzip && has(flagUncompressedData) && has(flagUncompressedInodes) && has(flagUncompressedFragments) {
		in.Compression = None
	}
	return in
}

// tables lists the tables that the image has, in the order of the format.
func (im *Image) tables() []TableInfo {
	sb := &im.sb
	t := []TableInfo{
		{im.inodes.name, im.inodes.start, im.inodes.end - im.inodes.start},
		{im.dirs.name, im.dirs.start, im.dirs.end - im.dirs.start},
	}
	add := func(name string, index []uint64, pos uint64) {
		if len(index) > 0 {
			t = append(t, TableInfo{name, int64(index[0]), int64(pos) + int64(len(index))*8 - int64(index[0])})
		}
	}
	add("fragment table", im.fragIndex, sb.FragTable)
	add("export table", im.exportIndex, sb.ExportTable)
	add("id table", im.idIndex, sb.IDTable)
	if sb.XattrTable != noTable {
		end := int64(sb.XattrTable) + 16 + int64(len(im.xattr.index))*8
		t = append(t, TableInfo{"xattr table", im.xattr.values.start, end - im.xattr.values.start})
	}
	return t
}
