package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// listed is a file of an image as `pvkit ls` and `pvkit inspect --tree` show
// it.
type listed struct {
	Path    string            `json:"path"`
	Type    string            `json:"type"`
	Mode    string            `json:"mode"` // octal
	UID     uint32            `json:"uid"`
	GID     uint32            `json:"gid"`
	Size    int64             `json:"size"`
	ModTime string            `json:"mtime"` // RFC 3339, UTC
	Target  string            `json:"target,omitempty"`
	Device  string            `json:"device,omitempty"` // major:minor
	Xattrs  map[string][]byte `json:"xattrs,omitempty"` // base64
}

func list(path string, n *rootfs.Node) listed {
	l := listed{
		Path: path, Type: n.Kind.String(), Mode: fmt.Sprintf("%04o", n.Mode), UID: n.UID, GID: n.GID,
		Size: n.Size(), ModTime: time.Unix(n.ModTime, 0).UTC().Format(time.RFC3339), Target: n.Target,
	}
	if n.Kind == rootfs.BlockDevice || n.Kind == rootfs.CharDevice {
		l.Device = fmt.Sprintf("%d:%d", n.Major, n.Minor)
	}
	for _, x := range n.Xattrs {
		if l.Xattrs == nil {
			l.Xattrs = map[string][]byte{}
		}
		l.Xattrs[x.Name] = x.Value
	}
	return l
}

// writeLong prints a line as `ls -l` does.
func writeLong(w io.Writer, path string, n *rootfs.Node) error {
	size := strconv.FormatInt(n.Size(), 10)
	if n.Kind == rootfs.BlockDevice || n.Kind == rootfs.CharDevice {
		size = fmt.Sprintf("%d, %d", n.Major, n.Minor)
	}
	mark := " "
	if len(n.Xattrs) > 0 {
		mark = "+"
	}
	line := fmt.Sprintf("%s%s %5d:%-5d %10s %s %s", modeString(n), mark, n.UID, n.GID, size,
		time.Unix(n.ModTime, 0).UTC().Format("2006-01-02 15:04"), printable(path))
	if n.Kind == rootfs.Symlink {
		line += " -> " + printable(n.Target)
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

// printable keeps control characters of a name out of the terminal.
func printable(name string) string {
	for _, r := range name {
		if !strconv.IsPrint(r) {
			return strconv.Quote(name)
		}
	}
	return name
}

// modeString is the first column of `ls -l`.
func modeString(n *rootfs.Node) string {
	kinds := map[rootfs.Kind]byte{
		rootfs.Dir: 'd', rootfs.File: '-', rootfs.Symlink: 'l', rootfs.BlockDevice: 'b',
		rootfs.CharDevice: 'c', rootfs.Fifo: 'p', rootfs.Socket: 's',
	}
	var b strings.Builder
	b.WriteByte(kinds[n.Kind])
	const rwx = "rwxrwxrwx"
	for i := range 9 {
		c := byte('-')
		if n.Mode&(1<<(8-i)) != 0 {
			c = rwx[i]
		}
		switch special := n.Mode >> (11 - i/3) & 1; {
		case i%3 != 2 || special == 0:
		case c == 'x':
			c = "sst"[i/3]
		default:
			c = "SST"[i/3]
		}
		b.WriteByte(c)
	}
	return b.String()
}
