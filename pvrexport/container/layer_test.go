package container_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/pvrexport/container"
)

// TestModesAndOwners writes each value in every way that is accepted.
func TestModesAndOwners(t *testing.T) {
	var def strings.Builder
	def.WriteString("name: c\nrootfs:\n  - user: web\n    uid: 70\n    gid: 71\n")
	cases := []struct{ mode, owner, want string }{
		{"0755", "0:0", "0755 0:0"},
		{"0o755", `"0:0"`, "0755 0:0"},
		{`"755"`, "web", "0755 70:71"},
		{`"0755"`, "web:web", "0755 70:71"},
		{`"4711"`, "70:0", "4711 70:0"},
		{"00", "web:5", "0000 70:5"},
		{"0", "12:web", "0000 12:71"},
	}
	for i, c := range cases {
		fmt.Fprintf(&def, "  - mkdir: /%d\n    mode: %s\n    owner: %s\n", i, c.mode, c.owner)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "container.yaml"), []byte(def.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	bundle, _ := build(t, dir, "amd64", container.Options{})
	_, _, tree := opened(t, bundle, "c")
	for i, c := range cases {
		n := tree.Lookup(fmt.Sprint(i))
		if got := fmt.Sprintf("%04o %d:%d", n.Mode, n.UID, n.GID); got != c.want {
			t.Errorf("mode %s, owner %s: %s, want %s", c.mode, c.owner, got, c.want)
		}
	}
}

// TestKeep takes from the host what the layer asks for, and nothing else.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "files", "f")
	if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("x"), 0o600), os.Chmod(file, os.ModeSetuid|0o610)); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	now := st.ModTime().Unix()
	for keep, want := range map[string]string{
		"":                    "755 0",
		"mode":                "4610 0",
		"time":                fmt.Sprintf("755 %d", now),
		"mode, time, xattrs":  fmt.Sprintf("4610 %d", now),
		"owner, mode, xattrs": "4610 0",
	} {
		yaml := "name: c\nrootfs:\n  - dir: files\n    keep: [" + keep + "]\n"
		if err := os.WriteFile(filepath.Join(dir, "container.yaml"), []byte(yaml), 0o644); err != nil {
			t.Fatal(err)
		}
		bundle, _ := build(t, dir, "amd64", container.Options{})
		_, _, tree := opened(t, bundle, "c")
		n := tree.Lookup("f")
		if got := fmt.Sprintf("%o %d", n.Mode, n.ModTime); got != want {
			t.Errorf("keep %s: %s, want %s", keep, got, want)
		}
		if uid := uint32(os.Geteuid()); strings.Contains(keep, "owner") && n.UID != uid || !strings.Contains(keep, "owner") && n.UID != 0 {
			t.Errorf("keep %s: owner %d", keep, n.UID)
		}
	}
}

// TestLeftOutIsSaid has an archive with what no image can hold.
func TestLeftOutIsSaid(t *testing.T) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range []string{"b", "a"} {
		err := w.WriteHeader(&tar.Header{
			Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Format: tar.FormatPAX,
			PAXRecords: map[string]string{"SCHILY.xattr.system.posix_acl_access": "x"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	err := errors.Join(w.Close(), os.WriteFile(filepath.Join(dir, "t.tar"), buf.Bytes(), 0o644),
		os.WriteFile(filepath.Join(dir, "container.yaml"), []byte("name: c\nrootfs:\n  - tar: t.tar\n"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	_, res := build(t, dir, "amd64", container.Options{})
	if len(res.Notes) != 1 || res.Notes[0].Rule != container.RuleSkipped {
		t.Fatalf("notes %v", res.Notes)
	}
	if got := res.Notes[0].String(); !strings.Contains(got, "of 2 files (first a)") || !strings.HasPrefix(got, "container.yaml:3:3: warning: ") {
		t.Error(got)
	}
}
