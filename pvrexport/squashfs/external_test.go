package squashfs_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

func externalTree(t *testing.T) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New()
	tree.Root().ModTime = 5
	tool := &rootfs.Node{Kind: rootfs.File, Mode: 0o4755, UID: 7, GID: 70000, ModTime: 6, Content: rootfs.Bytes(strings.Repeat("tool ", 60000))}
	tool.SetXattr("security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	for name, n := range map[string]*rootfs.Node{
		"bin/tool": tool, "bin/same": tool,
		"bin/sh":   {Kind: rootfs.Symlink, Mode: 0o777, Target: "tool", ModTime: 7},
		"dev/null": {Kind: rootfs.CharDevice, Mode: 0o666, Major: 1, Minor: 3},
		"dev/loop": {Kind: rootfs.BlockDevice, Mode: 0o600, Major: 7, Minor: 300},
		"run/p":    {Kind: rootfs.Fifo, Mode: 0o600},
		"etc/e":    {Kind: rootfs.File, Mode: 0o600},
		"tmp":      {Kind: rootfs.Dir, Mode: 0o1777, ModTime: 8},
	} {
		if err := tree.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	tree.Lookup("bin").ModTime = 9 // whichever of its files came first
	return tree
}

func TestExternal(t *testing.T) {
	for _, tool := range squashfs.ExternalTools() {
		path := testreq.Tool(t, tool)
		e := squashfs.External{Tool: tool, Path: path, Env: []string{"PATH=" + os.Getenv("PATH")}}
		for _, preset := range squashfs.Presets() {
			t.Run(tool+" "+preset.Name, func(t *testing.T) {
				o := preset.Options
				o.ModTime = time.Unix(1234567890, 0)
				if tool == "tar2sqfs" && preset.Name == "none" {
					if _, err := e.Write(t.Context(), &bytes.Buffer{}, t.TempDir(), externalTree(t), o); !isOption(err) {
						t.Errorf("no compression: %v", err)
					}
					return
				}
				dir := t.TempDir()
				var one, two bytes.Buffer
				stats, err := e.Write(t.Context(), &one, dir, externalTree(t), o)
				if err != nil {
					t.Fatal(err)
				}
				if stats.Files != 2 || stats.Links != 1 || stats.ImageSize != int64(one.Len()) {
					t.Errorf("stats %+v of %d bytes", stats, one.Len())
				}
				o.Workers = 1
				if _, err := e.Write(t.Context(), &two, dir, externalTree(t), o); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(one.Bytes(), two.Bytes()) {
					t.Error("two runs differ")
				}
				if left, _ := os.ReadDir(dir); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

func isOption(err error) bool {
	_, ok := errors.AsType[*squashfs.OptionError](err)
	return ok
}

func TestExternalErrors(t *testing.T) {
	tool := testreq.Tool(t, "mksquashfs")
	socket := externalTree(t)
	if err := socket.Put("run/s", &rootfs.Node{Kind: rootfs.Socket}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		e    squashfs.External
		tree *rootfs.Tree
		want string
	}{
		"unknown": {squashfs.External{Tool: "genext2fs"}, externalTree(t), "not one of"},
		"missing": {squashfs.External{Tool: "mksquashfs", Path: "/no/such"}, externalTree(t), "no such file"},
		"fails":   {squashfs.External{Tool: "tar2sqfs", Path: tool}, externalTree(t), "tar2sqfs: "},
		"lies":    {squashfs.External{Tool: "mksquashfs", Path: testreq.Tool(t, "true")}, externalTree(t), "mksquashfs: "},
		"socket":  {squashfs.External{Tool: "mksquashfs", Path: tool}, socket, "run/s: a tar stream cannot hold a socket"},
	} {
		dir := t.TempDir()
		var out bytes.Buffer
		_, err := c.e.Write(t.Context(), &out, dir, c.tree, squashfs.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(dir); out.Len() > 0 || len(left) > 0 {
			t.Errorf("%s: %d bytes of output, left behind %v", name, out.Len(), left)
		}
	}
}
