package rootfs

import (
	"archive/tar"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// node makes the Node of an entry and takes its contents.
func (r *tarReader) node(hdr *tar.Header) (*Node, error) {
	if hdr.Typeflag == tar.TypeLink {
		return r.linked(hdr)
	}
	n := &Node{Mode: uint16(hdr.Mode & 0o7777), ModTime: hdr.ModTime.Unix()}
	var ok [4]bool
	n.UID, ok[0] = id32(int64(hdr.Uid))
	n.GID, ok[1] = id32(int64(hdr.Gid))
	if !ok[0] || !ok[1] {
		return nil, fmt.Errorf("owner %d:%d does not fit in 32 bits", hdr.Uid, hdr.Gid)
	}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		n.Kind = File
	case tar.TypeDir:
		n.Kind = Dir
	case tar.TypeSymlink:
		n.Kind, n.Target = Symlink, hdr.Linkname
		if n.Target == "" {
			return nil, fmt.Errorf("symlink without a target")
		}
	case tar.TypeChar, tar.TypeBlock:
		n.Kind = CharDevice
		if hdr.Typeflag == tar.TypeBlock {
			n.Kind = BlockDevice
		}
		n.Major, ok[2] = id32(hdr.Devmajor)
		n.Minor, ok[3] = id32(hdr.Devminor)
		if !ok[2] || !ok[3] {
			return nil, fmt.Errorf("device number %d:%d does not fit in 32 bits", hdr.Devmajor, hdr.Devminor)
		}
	case tar.TypeFifo:
		n.Kind = Fifo
	default:
		return nil, fmt.Errorf("entry type %q is not supported", hdr.Typeflag)
	}
	if err := r.xattrs(hdr, n); err != nil {
		return nil, err
	}
	r.in.apply(n)
	if n.Kind == File && hdr.Size > 0 {
		return n, r.content(hdr, n)
	}
	return n, nil
}

// id32 narrows a number of a header. Where int has 32 bits archive/tar has
// already wrapped ids from 2^31 on, and wrapping back is right.
func id32(v int64) (uint32, bool) {
	return uint32(v), v >= 0 && v <= math.MaxUint32 || strconv.IntSize == 32 && v == int64(int32(v))
}

func (r *tarReader) content(hdr *tar.Header, n *Node) error {
	r.bytes += hdr.Size
	if r.bytes < 0 {
		r.bytes = math.MaxInt64
	}
	if err := within("bytes of file contents", r.bytes, r.lim.MaxBytes); err != nil {
		return err
	}
	if r.src.file != nil && !isSparse(hdr) {
		at := r.src.stream.pos
		if have := r.src.file.Size() - at; have < hdr.Size {
			return fmt.Errorf("%w: %d of %d bytes are there", io.ErrUnexpectedEOF, have, hdr.Size)
		}
		n.Content = section{io.NewSectionReader(r.src.file, at, hdr.Size)}
		return nil
	}
	if r.spool == nil {
		s, err := newSpool(r.opts.TempDir)
		if err != nil {
			return err
		}
		r.spool = s
	}
	c, err := r.spool.put(r.tr, hdr.Size, r.ctx.Err)
	if err != nil {
		return err
	}
	n.Content = c
	return nil
}

func isSparse(hdr *tar.Header) bool {
	if hdr.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// section is content that lies in one piece in a file.
type section struct{ r *io.SectionReader }

func (s section) Size() int64 { return s.r.Size() }

func (s section) Open() (io.ReadCloser, error) {
	return io.NopCloser(&exactReader{r: io.NewSectionReader(s.r, 0, s.r.Size()), left: s.r.Size()}), nil
}

// exactReader makes a file that shrinks after the archive was read an error
// and not a short content.
type exactReader struct {
	r    io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 {
		return n, fmt.Errorf("archive: %w: %d bytes are missing", ErrChanged, e.left)
	}
	return n, err
}

// xattrs takes the extended attributes from pax records: SCHILY.xattr.NAME (GNU
// tar, star) holds the bytes, LIBARCHIVE.xattr.NAME the name in URL encoding
// and the value in base64, RHT.security.selinux the SELinux label.
func (r *tarReader) xattrs(hdr *tar.Header, n *Node) error {
	var total int64
	for _, key := range slices.Sorted(maps.Keys(hdr.PAXRecords)) {
		name, value, err := xattrRecord(key, hdr.PAXRecords[key])
		if err != nil {
			return fmt.Errorf("pax record %s: %w", key, err)
		}
		if name == "" {
			if vendorData(key) {
				r.in.skip(hdr.Name, "pax record "+key)
			}
			continue
		}
		if !storableXattr(name) {
			r.in.skip(hdr.Name, "extended attribute "+name)
			continue
		}
		total += int64(len(name) + len(value))
		r.meta += int64(len(name) + len(value))
		for _, err := range []error{
			within("bytes of the name of extended attribute "+name[:min(len(name), 40)], int64(len(name)), 255),
			within("bytes of extended attribute "+name[:min(len(name), 40)], int64(len(value)), 64<<10),
			within("bytes of extended attributes", total, r.lim.MaxXattrBytes),
			within("bytes of metadata", r.meta, r.lim.MaxMetaBytes),
		} {
			if err != nil {
				return err
			}
		}
		n.SetXattr(name, value)
	}
	return nil
}

func xattrRecord(key, record string) (name string, value []byte, err error) {
	if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
		return name, []byte(record), nil
	}
	if key == "RHT.security.selinux" {
		return "security.selinux", []byte(record), nil
	}
	encoded, ok := strings.CutPrefix(key, "LIBARCHIVE.xattr.")
	if !ok {
		return "", nil, nil
	}
	if name, err = url.PathUnescape(encoded); err != nil {
		return "", nil, err
	}
	value, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(record, "="))
	if value == nil {
		value = []byte{}
	}
	return name, value, err
}

// vendorData tells pax records that hold data of a file from those that only
// carry what the header has too, or times that a tree does not keep.
func vendorData(key string) bool {
	switch key {
	case "atime", "ctime", "mtime", "path", "linkpath", "size", "uid", "gid", "uname", "gname", "comment", "charset", "hdrcharset",
		"LIBARCHIVE.creationtime", "SCHILY.dev", "SCHILY.ino", "SCHILY.nlink", "SCHILY.realsize", "SCHILY.devmajor", "SCHILY.devminor",
		"SCHILY.filetype", "SCHILY.tarfiletype", "SUN.holesdata", "SCHILY.volhdr", "LIBARCHIVE.symlinktype":
		return false
	}
	return !strings.HasPrefix(key, "GNU.sparse.")
}
