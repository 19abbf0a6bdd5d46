package container

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// accountFile is one of the files that know users.
type accountFile struct {
	name string
	mode uint16
}

// user adds lines to the account files. A name that is there with the same
// number stays as it is; with another number it is an error.
func (a *assembly) user(l *Layer) error {
	uid, gid := l.UID, l.GID
	if gid < 0 {
		gid = uid
	}
	group, home, shell := l.Group, l.Home, l.Shell
	if group == "" {
		group = l.Value
	}
	if home == "" {
		home = "/"
	}
	if shell == "" {
		shell = "/sbin/nologin"
	}
	for _, entry := range []struct {
		file accountFile
		id   int64
		line []string
	}{
		{accountFile{"etc/group", 0o644}, gid, []string{group, "x", strconv.FormatInt(gid, 10), ""}},
		{accountFile{"etc/passwd", 0o644}, uid, []string{l.Value, "x", strconv.FormatInt(uid, 10), strconv.FormatInt(gid, 10), l.Comment, home, shell}},
		// "!" is no valid hash: nobody can log in with a password.
		{accountFile{"etc/shadow", 0o640}, -1, []string{l.Value, "!", "", "", "", "", "", "", ""}},
	} {
		if err := a.addAccount(entry.file, entry.id, entry.line); err != nil {
			return err
		}
	}
	return nil
}

func (a *assembly) addAccount(f accountFile, id int64, line []string) error {
	n := a.tree.Lookup(f.name)
	text := ""
	switch {
	case n != nil && n.Kind != rootfs.File:
		return fmt.Errorf("/%s is a %s in the image", f.name, n.Kind)
	case n != nil && n.Content != nil:
		var err error
		if text, err = readContent(n.Content); err != nil {
			return fmt.Errorf("read the image's %s: %w", f.name, err)
		}
	}
	for have := range strings.Lines(text) {
		fields := strings.Split(strings.TrimRight(have, "\n"), ":")
		switch {
		case fields[0] != line[0]:
		case id < 0 || len(fields) > 2 && fields[2] == line[2]:
			return nil
		default:
			return fmt.Errorf("%q is in /%s already, with another number: %s", line[0], f.name, strings.TrimSpace(have))
		}
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	text += strings.Join(line, ":") + "\n"
	now := &rootfs.Node{Kind: rootfs.File, Mode: f.mode, ModTime: a.epoch()}
	if n != nil {
		now.Mode, now.UID, now.GID, now.Xattrs = n.Mode, n.UID, n.GID, n.Xattrs
	}
	now.Content = rootfs.Bytes(text)
	return a.tree.Put(f.name, now)
}
