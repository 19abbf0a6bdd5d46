package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// maxHostFile limits a file layer's "from": such a file is held in memory.
const maxHostFile = 256 << 20

// LayerError is a layer that could not be made. Place is where the definition
// asks for it.
type LayerError struct {
	Place string // "container.yaml:12:5", or "" when no file asks for it
	Layer string // "dir files"
	Err   error
}

func (e *LayerError) Error() string {
	if e.Place == "" {
		return fmt.Sprintf("layer %s: %v", e.Layer, e.Err)
	}
	return fmt.Sprintf("%s: layer %s: %v", e.Place, e.Layer, e.Err)
}

// Unwrap returns the cause.
func (e *LayerError) Unwrap() error { return e.Err }

// assembly is the making of one tree. Archives stay open until close, because
// contents are read from them when the image is written.
type assembly struct {
	b       *Builder
	def     *Definition
	arch    Arch
	tree    *rootfs.Tree
	closers []io.Closer
	skipped func(name, what string)
}

func (a *assembly) close() error {
	var errs []error
	for _, c := range a.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (a *assembly) layers(ctx context.Context, layers []Layer) error {
	for i := range layers {
		l := &layers[i]
		if len(l.Archs) > 0 && !slices.Contains(l.Archs, a.arch) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.layer(ctx, l); err != nil {
			e := &LayerError{Layer: l.Kind + " " + a.expand(l.Value), Err: err}
			if l.Pos.Line > 0 {
				e.Place = l.Pos.String()
			}
			return e
		}
	}
	return nil
}

func (a *assembly) layer(ctx context.Context, l *Layer) error {
	switch l.Kind {
	case "dir":
		return a.dir(ctx, l)
	case "tar":
		return a.tar(ctx, l)
	case "file":
		c, err := a.fileContent(l)
		if err != nil {
			return err
		}
		return a.put(l, l.Value, &rootfs.Node{Kind: rootfs.File, Mode: 0o644, Content: c})
	case "go":
		return a.program(ctx, l)
	case "mkdir":
		return a.put(l, l.Value, &rootfs.Node{Kind: rootfs.Dir, Mode: 0o755})
	case "symlink":
		return a.put(l, l.Value, &rootfs.Node{Kind: rootfs.Symlink, Mode: 0o777, Target: l.Target})
	case "device":
		kind := rootfs.CharDevice
		if l.Type == "block" {
			kind = rootfs.BlockDevice
		}
		return a.put(l, l.Value, &rootfs.Node{Kind: kind, Mode: 0o600, Major: uint32(l.Major), Minor: uint32(l.Minor)})
	case "fifo":
		return a.put(l, l.Value, &rootfs.Node{Kind: rootfs.Fifo, Mode: 0o644})
	case "user":
		return a.user(l)
	case "remove":
		name, err := a.resolve(l.Value)
		if err != nil {
			return err
		}
		if !a.tree.Remove(name) {
			return errors.New("there is nothing at this path")
		}
		return nil
	}
	return fmt.Errorf("unknown kind of layer %q", l.Kind)
}

func (a *assembly) user(l *Layer) error {
	u := rootfs.User{Name: l.Value, UID: uint32(l.UID), GID: uint32(l.UID), Gecos: l.Comment, Home: l.Home, Shell: l.Shell, Groups: l.Groups}
	if l.GID >= 0 {
		u.GID = uint32(l.GID)
	}
	return a.tree.AddUser(u)
}

// expand puts the architecture into a host path.
func (a *assembly) expand(s string) string { return strings.ReplaceAll(s, "${arch}", string(a.arch)) }

// host is a path of the definition as the host knows it.
func (a *assembly) host(name string) string {
	name = filepath.FromSlash(a.expand(name))
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(a.def.Dir, name)
}

// epoch is the time of everything that has no time of its own.
func (a *assembly) epoch() int64 {
	if a.b.opts.Epoch.IsZero() {
		return 0
	}
	return a.b.opts.Epoch.Unix()
}

// put places a single node with the layer's owner, mode and attributes.
func (a *assembly) put(l *Layer, name string, n *rootfs.Node) error {
	n.ModTime = a.epoch()
	if l.Mode.Set {
		n.Mode = l.Mode.Bits
	}
	if err := a.attributes(n, l.Owner, l.Caps, l.Xattrs); err != nil {
		return err
	}
	return a.place(name, n)
}

// place puts a node at a path, through symlinks to directories.
func (a *assembly) place(name string, n *rootfs.Node) error {
	if err := a.clash(name, n); err != nil {
		return err
	}
	if n.Kind == rootfs.Dir {
		name += "/."
	}
	name, err := a.resolve(name)
	if err != nil {
		return err
	}
	return a.tree.Put(name, n)
}

// clash refuses what is seldom meant: that a directory falls to a file or the
// other way round. A directory may meet a symlink to a directory.
func (a *assembly) clash(name string, n *rootfs.Node) error {
	full, err := a.resolve(name)
	if err != nil {
		return err
	}
	old := a.tree.Lookup(full)
	if old != nil && old.Kind == rootfs.Symlink && n.Kind == rootfs.Dir {
		to, err := a.resolve(name + "/.")
		if err != nil {
			return err
		}
		if there := a.tree.Lookup(to); there != nil && there.Kind == rootfs.Dir {
			return nil
		}
	}
	if old == nil || (old.Kind == rootfs.Dir) == (n.Kind == rootfs.Dir) {
		return nil
	}
	hint := ""
	if old.Kind == rootfs.Symlink {
		hint = fmt.Sprintf(" to %s", old.Target)
	}
	return fmt.Errorf("/%s: an earlier layer has a %s%s there, this one a %s; remove the first, or use another path", full, old.Kind, hint, n.Kind)
}

func (a *assembly) fileContent(l *Layer) (rootfs.Content, error) {
	if l.Content != nil {
		return rootfs.Bytes(*l.Content), nil
	}
	b, err := readHost(a.host(l.From), maxHostFile)
	return rootfs.Bytes(b), err
}

func readHost(name string, limit int64) (_ []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("read %s: not a regular file", name)
	case st.Size() > limit:
		return nil, fmt.Errorf("read %s: %d bytes are more than %d; use a dir layer", name, st.Size(), limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

func (a *assembly) dir(ctx context.Context, l *Layer) error {
	excludes, err := rootfs.ParseExcludes(l.Exclude, true)
	if err != nil {
		return err
	}
	opts := rootfs.DirOptions{Excludes: excludes, ClampTime: a.clamp(), Skipped: a.skipped, Owner: rootfs.AllRoot}
	switch {
	case l.OwnerMap != nil:
		opts.Owner = l.OwnerMap
	case slices.Contains(l.Keep, keepOwner):
		opts.Owner = nil
	case l.Owner.Set:
		uid, gid, err := a.owner(l.Owner)
		if err != nil {
			return err
		}
		opts.Owner = rootfs.OwnedBy(uid, gid)
	}
	sub, err := rootfs.FromDir(ctx, a.host(l.Value), opts)
	if err != nil {
		return err
	}
	for _, n := range sub.All() {
		if !slices.Contains(l.Keep, keepTime) {
			n.ModTime = a.epoch()
		}
		if !slices.Contains(l.Keep, keepMode) {
			n.Mode = plainMode(n)
		}
		if !slices.Contains(l.Keep, keepXattrs) {
			n.Xattrs = nil
		}
		dropHostLabels(n)
	}
	return a.merge(l, sub)
}

// plainMode is what a checkout means by a file's mode: who checked it out,
// with which umask, does not matter; whether it is a program does.
func plainMode(n *rootfs.Node) uint16 {
	switch {
	case n.Kind == rootfs.Symlink:
		return 0o777
	case n.Kind == rootfs.Dir, n.Kind == rootfs.File && n.Mode&0o111 != 0:
		return 0o755
	}
	return 0o644
}

// hostLabels are attributes that the host's security policy puts on every
// file; they mean nothing on another machine.
var hostLabels = []string{"security.selinux", "security.ima", "security.evm", "security.SMACK64"}

func dropHostLabels(n *rootfs.Node) {
	for _, name := range hostLabels {
		n.SetXattr(name, nil)
	}
}

func (a *assembly) clamp() time.Time {
	if !a.b.opts.Clamp {
		return time.Time{}
	}
	return a.b.opts.Epoch
}

func (a *assembly) tar(ctx context.Context, l *Layer) error {
	excludes, err := rootfs.ParseExcludes(l.Exclude, true)
	if err != nil {
		return err
	}
	opts := rootfs.TarOptions{Excludes: excludes, ClampTime: a.clamp(), Skipped: a.skipped, TempDir: a.b.temp, Owner: l.OwnerMap}
	if l.Owner.Set {
		uid, gid, err := a.owner(l.Owner)
		if err != nil {
			return err
		}
		opts.Owner = rootfs.OwnedBy(uid, gid)
	}
	var t *rootfs.TarTree
	if l.Value == "-" && a.b.opts.Stdin != nil {
		t, err = rootfs.FromTar(ctx, a.b.opts.Stdin, opts)
	} else {
		t, err = rootfs.OpenTar(ctx, a.host(l.Value), opts)
	}
	if err != nil {
		return err
	}
	a.closers = append(a.closers, t)
	return a.merge(l, t.Tree)
}

// merge lays a layer's tree over what is there. The root directory itself
// stays 0755 and root's, as pvr makes it (mksquashfs -root-mode 0755): its mode
// on the host says how private the build was, no more.
func (a *assembly) merge(l *Layer, sub *rootfs.Tree) error {
	for name, n := range sub.All() {
		if err := a.clash(path.Join(l.At, name), n); err != nil {
			return err
		}
	}
	before := *a.tree.Root()
	if err := a.tree.Merge(sub, l.At); err != nil {
		return err
	}
	top := a.tree.Root()
	top.Mode, top.UID, top.GID, top.ModTime, top.Xattrs = before.Mode, before.UID, before.GID, before.ModTime, before.Xattrs
	if len(l.Rules) == 0 {
		return nil
	}
	var names []string
	for name, n := range sub.All() {
		full := path.Join(l.At, name)
		if n.Kind == rootfs.Dir {
			full += "/." // where a link to a directory leads
		}
		name, err := a.resolve(full)
		if err != nil {
			return err
		}
		if name != "." {
			names = append(names, name)
		}
	}
	return a.rules(l.Rules, names)
}

// resolve follows symlinks among the directories of a path, and behind the
// whole of it if it ends in "/.".
func (a *assembly) resolve(name string) (string, error) {
	if dir, ok := strings.CutSuffix(name, "/."); ok {
		name, err := a.tree.Resolve(dir + "/x")
		return path.Dir(name), err
	}
	return a.tree.Resolve(name)
}

// finish applies what a definition says about the finished tree.
func (a *assembly) finish(i Image) error {
	excludes, err := rootfs.ParseExcludes(i.Exclude, true)
	if err != nil {
		return err
	}
	var names, drop []string
	for name := range a.tree.All() {
		if excludes.Match(name) {
			drop = append(drop, name)
		} else if name != "." {
			names = append(names, name)
		}
	}
	for _, name := range drop {
		a.tree.Remove(name)
	}
	if err := a.rules(i.Rules, names); err != nil {
		return fmt.Errorf("squashfs: %w", err)
	}
	return nil
}
