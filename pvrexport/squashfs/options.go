package squashfs

import (
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"time"
)

// Options says how an image is written. The zero value is the preset
// "balanced". Only Workers and Progress leave the bytes alone.
type Options struct {
	Compression Compression // 0 is Zstd
	// Level is the effort on the scale of the codec's own program: gzip 1 to
	// 9, zstd 1 to 22 (the encoder has four settings: below 3, below 6, below
	// 10 and above), xz 1 to 9 (two settings: to 6 and above). 0 is gzip 9,
	// xz 6, and for zstd its best except on machine code, which gains little
	// from the last setting and costs most. The other codecs have no levels.
	Level int
	HC    bool // LZ4 only: the slow encoder, a fifth smaller

	BlockSize int       // a power of two from 4 KiB to 1 MiB; 0 is 1 MiB
	Workers   int       // blocks compressed at the same time; 0 is one for each CPU
	ModTime   time.Time // of the image itself; the zero time is 1970-01-01

	// NoFragments gives every file blocks of its own. Otherwise files shorter
	// than a block share blocks, in the order that Write documents.
	NoFragments bool
	// TailPacking puts the last, short block of longer files into shared
	// blocks as well. It rarely makes an image smaller, and such a file takes
	// one more seek to read.
	TailPacking  bool
	NoDuplicates bool // store equal files once for each
	NoExport     bool // leave out the table that NFS servers need
	NoXattrs     bool // drop extended attributes

	// Progress is called from Write's goroutine, with the bytes of file
	// content that are in the image so far and their total.
	Progress func(done, total int64)
}

// PresetInfo describes a named set of options.
type PresetInfo struct {
	Name, Summary string
	Options       Options
}

// Presets lists the presets, the default first. After the named trade-offs
// come the codecs as mksquashfs uses them, in 128 KiB blocks.
func Presets() []PresetInfo {
	const k128 = 128 << 10
	return []PresetInfo{
		{"balanced", "zstd in 1 MiB blocks: small, quick to write, cheap to read", Options{Compression: Zstd, BlockSize: 1 << 20}},
		{"low-memory", "zstd in 256 KiB blocks: less memory on the device for each read", Options{Compression: Zstd, Level: 19, BlockSize: 256 << 10}},
		{"fast", "zstd at its default level in 256 KiB blocks, for the work bench", Options{Compression: Zstd, Level: 3, BlockSize: 256 << 10}},
		{"xz", "xz in 128 KiB blocks, as pvr writes", Options{Compression: XZ, BlockSize: k128}},
		{"smallest", "xz in 1 MiB blocks: slow to write and to read", Options{Compression: XZ, Level: 9, BlockSize: 1 << 20}},
		{"gzip", "gzip, for kernels without zstd and xz", Options{Compression: Gzip, BlockSize: k128}},
		{"zstd", "zstd in 128 KiB blocks", Options{Compression: Zstd, Level: 19, BlockSize: k128}},
		{"lz4", "lz4: large and quick", Options{Compression: LZ4, BlockSize: k128}},
		{"lz4hc", "lz4 with the slow encoder: as quick to read as lz4", Options{Compression: LZ4, HC: true, BlockSize: k128}},
		{"none", "no compression", Options{Compression: None, BlockSize: k128}},
	}
}

// Preset returns the options of a preset by name.
func Preset(name string) (Options, bool) {
	for _, p := range Presets() {
		if p.Name == name {
			return p.Options, true
		}
	}
	return Options{}, false
}

// OptionError is a value in Options that Write cannot honour.
type OptionError struct {
	Option, Reason string
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("squashfs option %s: %s", e.Option, e.Reason)
}

// Validate reports the first option that Write would refuse, as an
// *OptionError.
func (o Options) Validate() error {
	_, err := o.normal()
	return err
}

// normal checks the options and fills in the defaults.
func (o Options) normal() (Options, error) {
	if o.Compression == 0 {
		o.Compression = Zstd
	}
	if o.BlockSize == 0 {
		o.BlockSize = maxBlockSize
	}
	if o.BlockSize < minBlockSize || o.BlockSize > maxBlockSize || bits.OnesCount(uint(o.BlockSize)) != 1 {
		return o, &OptionError{"block size", fmt.Sprintf("%d is not a power of two from %d to %d", o.BlockSize, minBlockSize, maxBlockSize)}
	}
	if o.Workers < 0 {
		return o, &OptionError{"workers", fmt.Sprintf("%d is negative", o.Workers)}
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.ModTime.IsZero() {
		o.ModTime = time.Unix(0, 0)
	}
	if s := o.ModTime.Unix(); s < 0 || s > math.MaxUint32 {
		return o, &OptionError{"modification time", fmt.Sprintf("%s is outside 1970 to 2106", o.ModTime.UTC().Format(time.RFC3339))}
	}
	return o, o.checkCodec()
}

func (o Options) checkCodec() error {
	top := 0
	switch o.Compression {
	case Gzip, XZ:
		top = 9
	case Zstd:
		top = 22
	case LZ4, None:
	default:
		return &OptionError{"compression", fmt.Sprintf("%s cannot be written: use gzip, zstd, xz, lz4 or none", o.Compression)}
	}
	if o.Level < 0 || o.Level > top {
		if top == 0 {
			return &OptionError{"level", fmt.Sprintf("%s has no levels", o.Compression)}
		}
		return &OptionError{"level", fmt.Sprintf("%d is not from 1 to %d, the levels of %s", o.Level, top, o.Compression)}
	}
	if o.HC && o.Compression != LZ4 {
		return &OptionError{"hc", fmt.Sprintf("is for lz4, not for %s", o.Compression)}
	}
	return nil
}
