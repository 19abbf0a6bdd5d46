package squashfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// writeTar writes a tree as a pax archive, the root directory included.
func writeTar(ctx context.Context, w io.Writer, t *rootfs.Tree) error {
	tw := tar.NewWriter(w)
	first := map[*rootfs.Node]string{}
	for name, n := range t.All() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := writeTarNode(tw, first, name, n); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return tw.Close()
}

func writeTarNode(tw *tar.Writer, first map[*rootfs.Node]string, name string, n *rootfs.Node) error {
	hdr := &tar.Header{
		Name: "./" + name, Mode: int64(n.Mode), Uid: int(n.UID), Gid: int(n.GID), ModTime: time.Unix(n.ModTime, 0),
		Devmajor: int64(n.Major), Devminor: int64(n.Minor), Linkname: n.Target, Format: tar.FormatPAX,
	}
	switch n.Kind {
	case rootfs.Dir:
		hdr.Typeflag, hdr.Name = tar.TypeDir, "./"+name+"/"
		if name == "." {
			hdr.Name = "./"
		}
	case rootfs.File:
		hdr.Typeflag, hdr.Size = tar.TypeReg, n.Size()
	case rootfs.Symlink:
		hdr.Typeflag = tar.TypeSymlink
	case rootfs.BlockDevice:
		hdr.Typeflag = tar.TypeBlock
	case rootfs.CharDevice:
		hdr.Typeflag = tar.TypeChar
	case rootfs.Fifo:
		hdr.Typeflag = tar.TypeFifo
	default:
		return fmt.Errorf("a tar stream cannot hold a %s: use the internal engine", n.Kind)
	}
	if n.Kind != rootfs.Dir {
		if have, ok := first[n]; ok {
			return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: hdr.Name, Linkname: "./" + have, Mode: hdr.Mode, ModTime: hdr.ModTime, Format: tar.FormatPAX})
		}
		first[n] = name
	}
	for _, x := range n.Xattrs {
		if hdr.PAXRecords == nil {
			hdr.PAXRecords = map[string]string{}
		}
		hdr.PAXRecords["SCHILY.xattr."+x.Name] = string(x.Value)
	}
	if err := tw.WriteHeader(hdr); err != nil {
		return err
	}
	if hdr.Size == 0 {
		return nil
	}
	r, err := n.Content.Open()
	if err != nil {
		return err
	}
	_, err = io.Copy(tw, r)
	return errors.Join(err, r.Close())
}
