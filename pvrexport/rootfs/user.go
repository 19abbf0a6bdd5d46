package rootfs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// User is an account for the tree's etc/passwd.
type User struct {
	Name  string
	UID   uint32
	GID   uint32
	Gecos string
	Home  string // "" is "/"; the directory is not made
	Shell string // "" is "/sbin/nologin"

	// Groups are further groups, which must exist.
	Groups []string
}

// ErrUserExists is a user or group name, or an id, that is taken.
var ErrUserExists = errors.New("exists already")

// AddUser adds u to etc/passwd and, unless a group with its GID exists, a group
// of its name to etc/group. Files that are missing are made.
//
// The password is locked. etc/shadow and etc/gshadow get a locked entry where
// they exist and are not made otherwise: without them "x" in etc/passwd admits
// nobody (passwd(5)), and a tree that does without shadow files keeps doing so.
func (t *Tree) AddUser(u User) error {
	if err := t.addUser(u); err != nil {
		return fmt.Errorf("add user %q: %w", u.Name, err)
	}
	return nil
}

func (t *Tree) addUser(u User) error {
	if u.Home == "" {
		u.Home = "/"
	}
	if u.Shell == "" {
		u.Shell = "/sbin/nologin"
	}
	if err := u.check(); err != nil {
		return err
	}
	var files [4]*database
	for i, f := range []struct {
		name string
		mode uint16
	}{{"etc/passwd", 0o644}, {"etc/group", 0o644}, {"etc/shadow", 0o640}, {"etc/gshadow", 0o640}} {
		db, err := t.database(f.name, f.mode)
		if err != nil {
			return err
		}
		files[i] = db
	}
	passwd, group, shadow, gshadow := files[0], files[1], files[2], files[3]
	if passwd.find(0, u.Name) >= 0 || passwd.find(2, id(u.UID)) >= 0 {
		return fmt.Errorf("name or uid %d: %w", u.UID, ErrUserExists)
	}
	passwd.add(u.Name, "x", id(u.UID), id(u.GID), u.Gecos, u.Home, u.Shell)
	if group.find(2, id(u.GID)) < 0 {
		if group.find(0, u.Name) >= 0 {
			return fmt.Errorf("group %s with another id than %d: %w", u.Name, u.GID, ErrUserExists)
		}
		group.add(u.Name, "x", id(u.GID), "")
		if gshadow.node != nil {
			gshadow.add(u.Name, "!", "", "")
		}
	}
	for _, g := range u.Groups {
		if !group.join(g, u.Name) {
			return fmt.Errorf("there is no group %q", g)
		}
		gshadow.join(g, u.Name)
	}
	if shadow.node != nil {
		shadow.add(u.Name, "!", "", "", "", "", "", "", "")
	}
	for _, db := range files {
		if err := db.save(t); err != nil {
			return err
		}
	}
	return nil
}

func id(v uint32) string { return strconv.FormatUint(uint64(v), 10) }

// check holds names to what useradd(8) takes and keeps the separators out of
// the fields.
func (u User) check() error {
	if len(u.Name) == 0 || len(u.Name) > 32 {
		return errors.New("a name has 1 to 32 characters")
	}
	for i, c := range []byte(u.Name) {
		letter := c == '_' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return errors.New("a name has small letters, digits, _ and -, and starts with a letter or _")
		}
	}
	for _, f := range []struct{ what, text string }{{"gecos", u.Gecos}, {"home", u.Home}, {"shell", u.Shell}} {
		if strings.ContainsFunc(f.text, func(r rune) bool { return r == ':' || r < ' ' || r == 0x7f }) {
			return fmt.Errorf("%s %q holds a colon or a control character", f.what, f.text)
		}
	}
	if !strings.HasPrefix(u.Home, "/") || !strings.HasPrefix(u.Shell, "/") {
		return errors.New("home and shell are absolute paths")
	}
	if u.UID == 1<<32-1 || u.GID == 1<<32-1 {
		return errors.New("4294967295 means no id to the kernel")
	}
	return nil
}

// database is one of the colon-separated files of etc.
type database struct {
	name    string
	node    *Node // nil when there is none
	mode    uint16
	lines   []string
	changed bool
}

// maxDatabase bounds what is taken for an account file.
const maxDatabase = 4 << 20

func (t *Tree) database(name string, mode uint16) (*database, error) {
	name, err := t.follow(name)
	if err != nil {
		return nil, err
	}
	db := &database{name: name, mode: mode, node: t.Lookup(name)}
	if db.node == nil {
		return db, nil
	}
	if db.node.Kind != File {
		return nil, fmt.Errorf("%s is a %s", name, db.node.Kind)
	}
	if err := within("bytes of "+name, db.node.Size(), maxDatabase); err != nil || db.node.Size() == 0 {
		return db, err
	}
	r, err := db.node.Content.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	db.lines = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	return db, nil
}

// find returns the line whose field is value, -1 when there is none.
func (db *database) find(field int, value string) int {
	return slices.IndexFunc(db.lines, func(line string) bool {
		fields := strings.Split(line, ":")
		return field < len(fields) && fields[field] == value
	})
}

func (db *database) add(fields ...string) {
	db.lines = append(db.lines, strings.Join(fields, ":"))
	db.changed = true
}

// join adds a member to a group and reports whether there is such a group.
func (db *database) join(group, member string) bool {
	i := db.find(0, group)
	if i < 0 {
		return false
	}
	fields := strings.Split(db.lines[i], ":")
	if len(fields) != 4 {
		return false
	}
	members := strings.FieldsFunc(fields[3], func(r rune) bool { return r == ',' })
	if !slices.Contains(members, member) {
		fields[3] = strings.Join(append(members, member), ",")
		db.lines[i] = strings.Join(fields, ":")
		db.changed = true
	}
	return true
}

// save puts a new node in the old one's place: the old one may be shared with
// other trees.
func (db *database) save(t *Tree) error {
	if !db.changed {
		return nil
	}
	n := &Node{Kind: File, Mode: db.mode, ModTime: t.root.ModTime}
	if db.node != nil {
		*n = *db.node
	}
	n.Content = Bytes(strings.Join(db.lines, "\n") + "\n")
	return t.Put(db.name, n)
}
