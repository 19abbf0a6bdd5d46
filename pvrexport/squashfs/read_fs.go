package squashfs

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// maxLinks is how many symlinks one path may pass, as in Linux.
const maxLinks = 40

// errLinks is ELOOP, which io/fs has no name for.
var errLinks = errors.New("too many levels of symbolic links")

// FS returns the image as a file system. Open and Stat follow symlinks within
// the image: an absolute target starts at the image's root, and ".." stops
// there. It also has ReadDir, ReadLink and Lstat, and its FileInfo.Sys is an
// *Entry.
func (im *Image) FS() fs.FS { return imageFS{im} }

type imageFS struct{ im *Image }

var (
	_ fs.ReadDirFS  = imageFS{}
	_ fs.StatFS     = imageFS{}
	_ fs.ReadLinkFS = imageFS{}
)

// Open implements fs.FS.
func (f imageFS) Open(name string) (fs.File, error) {
	e, err := f.walk("open", name, true)
	if err != nil {
		return nil, err
	}
	return f.file(name, e)
}

func (f imageFS) file(name string, e *Entry) (fs.File, error) {
	base := openFile{fs: f, name: name, info: fileInfo{path.Base(name), e}}
	switch {
	case e.ino.isDir():
		return &openDir{openFile: base}, nil
	case e.ino.isFile():
		r, err := e.Content.Open()
		if err != nil {
			return nil, pathError("open", name, err)
		}
		base.r = r
	}
	return &base, nil
}

// Stat implements fs.StatFS.
func (f imageFS) Stat(name string) (fs.FileInfo, error) { return f.info("stat", name, true) }

// Lstat implements fs.ReadLinkFS.
func (f imageFS) Lstat(name string) (fs.FileInfo, error) { return f.info("lstat", name, false) }

func (f imageFS) info(op, name string, follow bool) (fs.FileInfo, error) {
	e, err := f.walk(op, name, follow)
	if err != nil {
		return nil, err
	}
	return fileInfo{path.Base(name), e}, nil
}

// ReadLink implements fs.ReadLinkFS.
func (f imageFS) ReadLink(name string) (string, error) {
	e, err := f.walk("readlink", name, false)
	if err != nil {
		return "", err
	}
	if e.Kind != rootfs.Symlink {
		return "", pathError("readlink", name, fs.ErrInvalid)
	}
	return e.Target, nil
}

// ReadDir implements fs.ReadDirFS.
func (f imageFS) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := f.walk("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !e.ino.isDir() {
		return nil, pathError("readdir", name, errors.New("not a directory"))
	}
	var out []fs.DirEntry
	d, err := f.im.openDir(e.ino)
	for err == nil {
		var x dirEntry
		var ok bool
		if x, ok, err = d.next(); err == nil && ok {
			out = append(out, &dirItem{f.im, join(name, x.name), x})
		} else if err == nil {
			return out, nil
		}
	}
	return out, pathError("readdir", name, err)
}

// walk finds a name, through symlinks on the way and, with follow, at the end.
func (f imageFS) walk(op, name string, follow bool) (*Entry, error) {
	if !fs.ValidPath(name) {
		return nil, pathError(op, name, fs.ErrInvalid)
	}
	clean, n, err := f.im.resolve(name, follow)
	if err != nil {
		return nil, pathError(op, name, err)
	}
	node, err := f.im.node(n)
	if err != nil {
		return nil, pathError(op, name, err)
	}
	return &Entry{clean, n.number, n.nlink, node, n}, nil
}

// resolve walks name from the root. It keeps the directories it came through,
// so that ".." in a target does not read them again.
func (im *Image) resolve(name string, follow bool) (string, *inode, error) {
	root, err := im.root()
	if err != nil {
		return "", nil, err
	}
	at := []step{{".", root}}
	links := 0
	rest := strings.Split(name, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		here := at[len(at)-1]
		if !here.n.isDir() {
			return "", nil, fs.ErrNotExist
		}
		switch part {
		case "", ".":
			continue
		case "..":
			at = at[:max(1, len(at)-1)]
			continue
		}
		n, err := im.find(here.n, part)
		if err != nil {
			return "", nil, err
		}
		if n.basic() != inodeSymlink || (len(rest) == 0 && !follow) {
			at = append(at, step{join(here.path, part), n})
			continue
		}
		if links++; links > maxLinks {
			return "", nil, errLinks
		}
		if strings.HasPrefix(n.target, "/") {
			at = at[:1]
		}
		if len(n.target)+len(rest) > maxPath {
			return "", nil, badf(im.inodes.start, "a symlink target of %d bytes", len(n.target))
		}
		rest = append(strings.Split(n.target, "/"), rest...)
	}
	last := at[len(at)-1]
	return last.path, last.n, nil
}

type step struct {
	path string
	n    *inode
}

// fileInfo is the fs.FileInfo of an entry under the name it was asked for.
type fileInfo struct {
	name string
	e    *Entry
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.e.Size() }
func (i fileInfo) Mode() fs.FileMode  { return fileMode(i.e.Node) }
func (i fileInfo) ModTime() time.Time { return modTime(i.e.Node.ModTime) }
func (i fileInfo) IsDir() bool        { return i.e.Kind == rootfs.Dir }
func (i fileInfo) Sys() any           { return i.e }
func (i fileInfo) String() string     { return fs.FormatFileInfo(i) }

var modeTypes = [...]fs.FileMode{
	rootfs.Dir: fs.ModeDir, rootfs.File: 0, rootfs.Symlink: fs.ModeSymlink,
	rootfs.BlockDevice: fs.ModeDevice, rootfs.CharDevice: fs.ModeDevice | fs.ModeCharDevice,
	rootfs.Fifo: fs.ModeNamedPipe, rootfs.Socket: fs.ModeSocket,
}

func fileMode(n *rootfs.Node) fs.FileMode {
	m := fs.FileMode(n.Mode&0o777) | modeTypes[n.Kind]
	if n.Mode&0o4000 != 0 {
		m |= fs.ModeSetuid
	}
	if n.Mode&0o2000 != 0 {
		m |= fs.ModeSetgid
	}
	if n.Mode&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// dirItem is an fs.DirEntry; Info reads the inode.
type dirItem struct {
	im   *Image
	path string
	e    dirEntry
}

func (d *dirItem) Name() string               { return d.e.name }
func (d *dirItem) IsDir() bool                { return d.e.typ == inodeDir }
func (d *dirItem) String() string             { return fs.FormatDirEntry(d) }
func (d *dirItem) Info() (fs.FileInfo, error) { return d.info() }

func (d *dirItem) Type() fs.FileMode {
	if int(d.e.typ) >= len(kinds) || d.e.typ == 0 {
		return fs.ModeIrregular
	}
	return modeTypes[kinds[d.e.typ]]
}

func (d *dirItem) info() (fs.FileInfo, error) {
	n, err := d.im.entryInode(d.e)
	if err != nil {
		return nil, pathError("stat", d.path, err)
	}
	e, err := d.im.entry(d.path, n)
	if err != nil {
		return nil, err
	}
	return fileInfo{d.e.name, e}, nil
}

// openFile is an open file that is not a directory. Only regular files have
// data: a device node in an image is not the device, and reads as empty.
type openFile struct {
	fs   imageFS
	name string
	info fileInfo
	r    io.ReadCloser
	done bool
}

func (f *openFile) Stat() (fs.FileInfo, error) {
	if f.done {
		return nil, pathError("stat", f.name, fs.ErrClosed)
	}
	return f.info, nil
}

func (f *openFile) Read(p []byte) (int, error) {
	if f.done {
		return 0, pathError("read", f.name, fs.ErrClosed)
	}
	if f.r == nil {
		return 0, io.EOF
	}
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = pathError("read", f.name, err)
	}
	return n, err
}

func (f *openFile) Close() error {
	if f.done {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.done = true
	if f.r != nil {
		return f.r.Close()
	}
	return nil
}

// openDir is an open directory.
type openDir struct {
	openFile
	list []fs.DirEntry
	read bool
}

// Read refuses: a directory has no data.
func (d *openDir) Read([]byte) (int, error) {
	return 0, pathError("read", d.name, errors.New("is a directory"))
}

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.done {
		return nil, pathError("readdir", d.name, fs.ErrClosed)
	}
	if !d.read {
		list, err := d.fs.ReadDir(d.name)
		if err != nil {
			return list, err
		}
		d.list, d.read = list, true
	}
	if n <= 0 {
		n = len(d.list)
	} else if len(d.list) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.list))
	out := d.list[:n:n]
	d.list = d.list[n:]
	return out, nil
}
