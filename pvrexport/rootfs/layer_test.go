package rootfs_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// build makes a tree from "name", "name/", "name->target" and "name=content".
func build(t *testing.T, specs ...string) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New()
	for _, s := range specs {
		n := &rootfs.Node{Kind: rootfs.File, Mode: 0o644}
		name, target, isLink := strings.Cut(s, "->")
		name, content, _ := strings.Cut(name, "=")
		switch {
		case isLink:
			n.Kind, n.Mode, n.Target = rootfs.Symlink, 0o777, target
		case strings.HasSuffix(name, "/"):
			n.Kind, n.Mode = rootfs.Dir, 0o755
		case content != "":
			n.Content = rootfs.Bytes(content)
		}
		if err := tree.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func TestMerge(t *testing.T) {
	for name, c := range map[string]struct {
		base, layer []string
		at          string
		want        string
		bad         string
	}{
		"over":                {[]string{"a=1", "d/x"}, []string{"a=2", "d/y", "e/"}, "", ". a d d/x d/y e", ""},
		"at":                  {[]string{"a"}, []string{"f"}, "/opt/app", ". a opt opt/app opt/app/f", ""},
		"file over directory": {[]string{"d/x"}, []string{"d"}, "", ". d", ""},
		"directory over file": {[]string{"d"}, []string{"d/x"}, "", ". d d/x", ""},
		"merged usr":          {[]string{"bin->usr/bin", "usr/bin/sh"}, []string{"bin/ls", "bin/sub/x"}, "", ". bin->usr/bin usr usr/bin usr/bin/ls usr/bin/sh usr/bin/sub usr/bin/sub/x", ""},
		"link to absolute":    {[]string{"run/", "var/run->/run"}, []string{"var/run/pid"}, "", ". run run/pid var var/run->/run", ""},
		"at through a link":   {[]string{"bin->usr/bin", "usr/bin/"}, []string{"x"}, "bin", ". bin->usr/bin usr usr/bin usr/bin/x", ""},
		"dangling link":       {[]string{"d->nowhere"}, []string{"d/x"}, "", ". d d/x", ""},
		"link to a file":      {[]string{"d->f", "f"}, []string{"d/x"}, "", ". d d/x f", ""},
		"loop":                {[]string{"d->e", "e->d"}, []string{"d/x"}, "", ". d d/x e->d", ""},
		"at below a file":     {[]string{"f"}, []string{"x"}, "f/y", "", `"f" in its path is a file`},
		"at climbs":           {nil, nil, "../x", "", `holds ".."`},
	} {
		t.Run(name, func(t *testing.T) {
			base, layer := build(t, c.base...), build(t, c.layer...)
			before := listing(layer)
			layer.Root().Mode = 0o711
			err := base.Merge(layer, c.at)
			if c.bad != "" {
				if err == nil || !strings.Contains(err.Error(), c.bad) {
					t.Errorf("got %v, want %s", err, c.bad)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := listing(base); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if c.at == "" && base.Root().Mode != 0o711 {
				t.Error("the root's metadata was not taken")
			}
			if listing(layer) != before {
				t.Errorf("the layer is now %s", listing(layer))
			}
		})
	}
}

func TestResolve(t *testing.T) {
	tree := build(t, "bin->usr/bin", "usr/bin/sh->dash", "a/b->../c", "c/", "abs->/usr/../usr", "up->../../..", "loop->loop")
	for in, want := range map[string]string{
		"bin/sh": "usr/bin/sh", "/bin": "bin", "a/b/x/y": "c/x/y", "abs/bin/x": "usr/bin/x", "up/c/x": "c/x", "new/dir/x": "new/dir/x", "/": ".",
	} {
		if got, err := tree.Resolve(in); err != nil || got != want {
			t.Errorf("Resolve(%s) = %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"loop/x", "../x"} {
		if got, err := tree.Resolve(in); err == nil {
			t.Errorf("Resolve(%s) = %s", in, got)
		}
	}
}

func TestAddUser(t *testing.T) {
	tree := build(t, "etc/passwd=root:x:0:0:root:/root:/bin/sh\n", "etc/group=root:x:0:\nvideo:x:44:a,b\naudio:x:29:", "etc/shadow=root:*:1::::::\n", "etc/gshadow=video:!::a,b\n")
	shared := tree.Lookup("etc/passwd")
	for _, u := range []rootfs.User{
		{Name: "app", UID: 1000, GID: 1000, Groups: []string{"video", "audio"}},
		{Name: "web-1", UID: 1001, GID: 44, Home: "/srv", Shell: "/bin/sh", Gecos: "Web, é"},
	} {
		if err := tree.AddUser(u); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"etc/passwd":  "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:/sbin/nologin\nweb-1:x:1001:44:Web, é:/srv:/bin/sh\n",
		"etc/group":   "root:x:0:\nvideo:x:44:a,b,app\naudio:x:29:app\napp:x:1000:\n",
		"etc/shadow":  "root:*:1::::::\napp:!:::::::\nweb-1:!:::::::\n",
		"etc/gshadow": "video:!::a,b,app\napp:!::\n",
	} {
		if got := read(t, tree.Lookup(name)); got != want {
			t.Errorf("%s is\n%swant\n%s", name, got, want)
		}
	}
	if read(t, shared) != "root:x:0:0:root:/root:/bin/sh\n" {
		t.Error("the node of the layer was changed")
	}
	for _, c := range []struct {
		u    rootfs.User
		want string
	}{
		{rootfs.User{Name: "app", UID: 5, GID: 5}, "exists already"},
		{rootfs.User{Name: "x", UID: 1000, GID: 5}, "exists already"},
		{rootfs.User{Name: "audio", UID: 5, GID: 5}, "group audio with another id than 5: exists already"},
		{rootfs.User{Name: "x", UID: 5, GID: 5, Groups: []string{"nope"}}, `there is no group "nope"`},
		{rootfs.User{UID: 5}, "1 to 32"}, {rootfs.User{Name: "Upper", UID: 5}, "small letters"}, {rootfs.User{Name: "1a", UID: 5}, "starts with"},
		{rootfs.User{Name: "a:b", UID: 5}, "small letters"}, {rootfs.User{Name: strings.Repeat("a", 33), UID: 5}, "1 to 32"},
		{rootfs.User{Name: "x", UID: 5, Gecos: "a:b"}, "colon"}, {rootfs.User{Name: "x", UID: 5, Home: "/a\nroot:x:0"}, "control character"},
		{rootfs.User{Name: "x", UID: 5, Home: "relative"}, "absolute"}, {rootfs.User{Name: "x", UID: 4294967295}, "no id"},
	} {
		before := read(t, tree.Lookup("etc/passwd"))
		if err := tree.AddUser(c.u); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.u, err, c.want)
		}
		if read(t, tree.Lookup("etc/passwd")) != before {
			t.Errorf("%+v changed etc/passwd", c.u)
		}
	}
	if err := tree.AddUser(rootfs.User{Name: "app", UID: 7}); !errors.Is(err, rootfs.ErrUserExists) {
		t.Error(err)
	}
}

func TestAddUserToAnEmptyTree(t *testing.T) {
	tree := build(t, "etc->config", "config/")
	if err := tree.AddUser(rootfs.User{Name: "app", UID: 7, GID: 8}); err != nil {
		t.Fatal(err)
	}
	if got := listing(tree); got != ". config config/group config/passwd etc->config" {
		t.Error(got)
	}
	if n := tree.Lookup("config/passwd"); n.Mode != 0o644 || read(t, n) != "app:x:7:8::/:/sbin/nologin\n" {
		t.Errorf("%+v", n)
	}
	if err := build(t, "etc/passwd/x").AddUser(rootfs.User{Name: "app"}); err == nil || !strings.Contains(err.Error(), "etc/passwd is a directory") {
		t.Error(err)
	}
}

func TestRules(t *testing.T) {
	tree := build(t, "bin/su", "bin/sh->su", "bin/x.sh", "var/lib/a/f", "var/lib/b")
	mode, dirMode, uid := uint16(0o4755), uint16(0o700), uint32(9)
	counts, err := tree.Apply([]rootfs.Rule{
		{Pattern: "/bin/su", Mode: &mode, Xattrs: []rootfs.Xattr{{Name: "user.a", Value: []byte("1")}, {Name: "user.b", Value: []byte{}}}},
		{Pattern: "... *.sh", Wildcards: true, UID: &uid, GID: &uid},
		{Pattern: "var/lib", Below: true, DirMode: &dirMode, UID: &uid},
		{Pattern: "bin/*", Wildcards: true, Xattrs: []rootfs.Xattr{{Name: "user.a"}}},
		{Pattern: "nothing", UID: &uid},
		{Pattern: "/", DirMode: &dirMode},
		{Pattern: "bin/s*", Wildcards: true, ModTime: new(int64)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{1, 1, 4, 3, 0, 1, 2}; !slices.Equal(counts, want) {
		t.Errorf("matched %v, want %v", counts, want)
	}
	text := func(name string) string {
		n := tree.Lookup(name)
		return fmt.Sprintf("%04o %d:%d %q", n.Mode, n.UID, n.GID, n.Xattrs)
	}
	for name, want := range map[string]string{
		".": "0700 0:0 []", "bin": "0755 0:0 []", "bin/su": `4755 0:0 [{"user.b" ""}]`, "bin/x.sh": "0644 9:9 []",
		"var/lib": "0700 9:0 []", "var/lib/a": "0700 9:0 []", "var/lib/a/f": "0644 9:0 []", "bin/sh": "0777 0:0 []",
	} {
		if got := text(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	big := uint16(0o10000)
	for _, r := range []rootfs.Rule{{Pattern: ""}, {Pattern: "../x"}, {Pattern: "x", Mode: &big}, {Pattern: "x", Xattrs: []rootfs.Xattr{{Name: "system.x"}}}, {Pattern: "/x", Wildcards: true}} {
		if _, err := tree.Apply([]rootfs.Rule{r}); err == nil {
			t.Errorf("%+v was taken", r)
		}
	}
}
