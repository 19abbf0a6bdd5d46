package machine_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox/machine"
)

// header is the beginning of an ELF file.
func header(class, data byte, m uint16) []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF")
	b[4], b[5] = class, data
	if data == 2 {
		binary.BigEndian.PutUint16(b[18:], m)
	} else {
		binary.LittleEndian.PutUint16(b[18:], m)
	}
	return b
}

func TestArch(t *testing.T) {
	for want, head := range map[string][]byte{
		"amd64": header(2, 1, 62), "386": header(1, 1, 3), "arm64": header(2, 1, 183), "arm": header(1, 1, 40),
		"riscv64": header(2, 1, 243), "riscv": header(1, 1, 243), "s390x": header(2, 2, 22), "ppc64": header(2, 2, 21),
		"ppc64le": header(2, 1, 21), "sparcv9": header(2, 2, 43), "": []byte("text"),
	} {
		p, err := machine.Find(fstest.MapFS{"bin/x": {Data: head}}, "/bin/x", nil)
		if err != nil || p.Arch() != want {
			t.Errorf("%q, %v, want %q", p.Arch(), err, want)
		}
	}
	self, err := machine.Find(os.DirFS("/proc/self"), "/exe", nil)
	if err != nil || self.Arch() != machine.Host() || self.Foreign() {
		t.Errorf("this program: %q, %v, foreign %v", self.Arch(), err, self.Foreign())
	}
}

// What runs a script is what counts.
func TestFind(t *testing.T) {
	root := fstest.MapFS{
		"usr/bin/app": {Data: []byte("#! /bin/sh -e\necho\n")}, "bin/sh": {Data: header(2, 1, 183)},
		"bin/loop": {Data: []byte("#!/bin/loop\n")}, "bin/lost": {Data: []byte("#!/bin/gone\n")}, "bin/none": {Data: []byte("#!\n")},
		"bin/empty": {},
	}
	for _, c := range []struct {
		command, path string
		missing, bad  bool
	}{
		{"app", "bin/sh", false, false}, {"/usr/bin/app", "bin/sh", false, false}, {"/usr/../bin/sh", "bin/sh", false, false},
		{"no", "", true, true}, {"/bin/loop", "", false, true}, {"/bin/lost", "", true, true},
		{"/bin/none", "bin/none", false, false}, {"/bin/empty", "bin/empty", false, false}, {"../../bin/sh", "bin/sh", false, false},
	} {
		p, err := machine.Find(root, c.command, []string{"/nowhere", "/usr/bin"})
		if (err != nil) != c.bad || errors.Is(err, fs.ErrNotExist) != c.missing || err == nil && p.Path != c.path {
			t.Errorf("%s: %q, %v", c.command, p.Path, err)
		}
	}
}

func TestEmulated(t *testing.T) {
	const entry = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\noffset 0\n" +
		"magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
	head := header(2, 1, 183)
	head[6], head[16] = 1, 3 // a version, and a program that may lie anywhere
	p, err := machine.Find(fstest.MapFS{"x": {Data: head}}, "/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		old, new string
		want     bool
	}{
		{"", "", true}, {"enabled", "disabled", false}, {"OCF", "OC", false}, {"b700", "f300", false},
		{"offset 0", "offset 60", false}, {"offset 0", "offset -1", false}, {"magic 7f", "magic 7", false},
	} {
		dir := t.TempDir()
		text := bytes.Replace([]byte(entry), []byte(c.old), []byte(c.new), 1)
		if err := os.WriteFile(filepath.Join(dir, "qemu-aarch64"), text, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := machine.Emulated(p, dir); got != c.want {
			t.Errorf("%s instead of %s: %v", c.new, c.old, got)
		}
	}
}

func FuzzProgram(f *testing.F) {
	f.Add(header(2, 1, 183), "magic 7f45\n")
	f.Add([]byte("#!/x"), "")
	f.Fuzz(func(t *testing.T, head []byte, entry string) {
		p, err := machine.Find(fstest.MapFS{"x": {Data: head}}, "/x", nil)
		if err != nil {
			return
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "e"), []byte(entry), 0o644); err != nil {
			t.Fatal(err)
		}
		machine.Emulated(p, dir)
		if p.Arch() == "" && p.Foreign() {
			t.Error("what is no program is for no other machine")
		}
	})
}
