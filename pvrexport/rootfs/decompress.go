package rootfs

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// ErrFormat is an input that is no tar archive in any packing we read.
var ErrFormat = errors.New("not a tar archive")

// maxWindow bounds the memory of the zstd and xz decoders: the largest window
// that the zstd program opens without being told, and twice that of xz -9.
const maxWindow = 128 << 20

// packings are the compressed formats by their first bytes.
var packings = []struct {
	magic, name string
	open        func(*bufio.Reader) (io.Reader, func(), error)
}{
	{"\x1f\x8b", "gzip", func(r *bufio.Reader) (io.Reader, func(), error) {
		z, err := gzip.NewReader(r)
		return z, nil, err
	}},
	{"\x28\xb5\x2f\xfd", "zstd", openZstd},
	{"\xfd7zXZ\x00", "xz", func(r *bufio.Reader) (io.Reader, func(), error) {
		z, err := xz.NewReader(&xzGuard{r: r})
		return z, nil, err
	}},
	{"BZh", "bzip2", func(r *bufio.Reader) (io.Reader, func(), error) { return bzip2.NewReader(r), nil, nil }},
}

// unsupported are formats worth naming when somebody hands them over.
var unsupported = []struct{ magic, name string }{
	{"PK\x03\x04", "a zip archive"},
	{"\x04\x22\x4d\x18", "lz4 compressed"},
	{"\x1f\x9d", "compress(1)ed"},
	{"LZIP", "lzip compressed"},
	{"070701", "a cpio archive"},
	{"070707", "a cpio archive"},
	{"hsqs", "a squashfs image"},
	{"!<arch>\n", "an ar archive, such as a Debian package"},
	{"\xed\xab\xee\xdb", "an rpm package"},
}

func openZstd(r *bufio.Reader) (io.Reader, func(), error) {
	// One goroutine: with more the decoder reads ahead without a bound.
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, nil, err
	}
	return z, z.Close, nil
}

// unpack finds out how r is packed. It returns the name of the packing ("" for
// none), the unpacked stream and a function that releases the decoder.
func unpack(r *bufio.Reader) (string, io.Reader, func(), error) {
	head, err := r.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", nil, nil, err
	}
	if len(head) == 0 {
		return "", nil, nil, fmt.Errorf("%w: the input is empty", ErrFormat)
	}
	for _, p := range packings {
		if !bytes.HasPrefix(head, []byte(p.magic)) {
			continue
		}
		z, release, err := p.open(r)
		if err != nil {
			return "", nil, nil, fmt.Errorf("%s: %w", p.name, err)
		}
		if release == nil {
			release = func() {}
		}
		return p.name, z, release, nil
	}
	if !looksLikeTar(head) {
		return "", nil, nil, unknownFormat(head)
	}
	return "", r, func() {}, nil
}

func unknownFormat(head []byte) error {
	for _, u := range unsupported {
		if bytes.HasPrefix(head, []byte(u.magic)) {
			return fmt.Errorf("%w: this is %s", ErrFormat, u.name)
		}
	}
	return fmt.Errorf("%w: it starts with % x; wanted tar, plain or in gzip, zstd, xz or bzip2", ErrFormat, head[:min(len(head), 8)])
}

// looksLikeTar checks the header's sum (POSIX.1-2008 pax, "ustar Interchange
// Format"), which archives from before the ustar magic have too. An archive of
// nothing starts with zeros.
func looksLikeTar(block []byte) bool {
	if len(block) < 512 {
		return false
	}
	if allZero(block) {
		return true
	}
	var unsigned, signed, want int64
	for i, c := range block {
		if i >= 148 && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c)) // old Sun tar
	}
	for _, c := range bytes.Trim(block[148:156], " \x00") {
		if c < '0' || c > '7' {
			return false
		}
		want = want<<3 | int64(c-'0')
	}
	return want == unsigned || want == signed
}
