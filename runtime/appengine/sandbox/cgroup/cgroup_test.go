package cgroup_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox/cgroup"
)

func open(t *testing.T) *cgroup.Tree {
	t.Helper()
	testreq.Root(t)
	tree, err := cgroup.Open(fmt.Sprintf("pvkit-cgtest-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	testreq.Feature(t, "cgroup", tree.Usable(), "no cgroup can be written here")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := tree.Sweep(ctx); err != nil {
			t.Error(err)
		}
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd
}

func TestGroup(t *testing.T) {
	tree := open(t)
	g, err := tree.Create(t.Context(), "app", 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := sleeper(t), sleeper(t)
	for _, cmd := range []*exec.Cmd{a, b} {
		if name, err := tree.Owner(cmd.Process.Pid); name != "" || err != nil {
			t.Errorf("before: owner %q %v", name, err)
		}
		if err := g.Add(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
		if name, err := tree.Owner(cmd.Process.Pid); name != "app" || err != nil {
			t.Errorf("owner %q %v", name, err)
		}
	}
	want := []int{a.Process.Pid, b.Process.Pid}
	slices.Sort(want)
	if got := g.PIDs(); !slices.Equal(got, want) {
		t.Errorf("processes %v, want %v", got, want)
	}
	if names := tree.Names(); !slices.Equal(names, []string{"app"}) {
		t.Errorf("names %v", names)
	}
	third := sleeper(t)
	if err := cgroup.Join(a.Process.Pid, third.Process.Pid); err != nil {
		t.Error(err)
	}
	if name, _ := tree.Owner(third.Process.Pid); name != "app" {
		t.Errorf("who joined is of %q", name)
	}
	go func() { a.Wait(); b.Wait(); third.Wait() }()
	if err := g.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if names := tree.Names(); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}

// A name is part of a path.
func TestNames(t *testing.T) {
	for name, want := range map[string]bool{"app": true, "a.b-c_d+1": true, "": false, "..": false, ".x": false, "a/b": false, "a b": false,
		"ä": false, strings.Repeat("x", 201): false} {
		if got := cgroup.ValidName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if _, err := cgroup.Open("../x"); err == nil {
		t.Error("a bad name was taken")
	}
	tree := open(t)
	if _, err := cgroup.Open(fmt.Sprintf("pvkit-cgtest-%d", os.Getpid())); !errors.Is(err, cgroup.ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	if _, err := tree.Create(t.Context(), "../x", 0, nil); err == nil {
		t.Error("a bad container's name was taken")
	}
	if name, err := tree.Owner(os.Getpid()); name != "" || err != nil {
		t.Errorf("we are %q %v", name, err)
	}
	if _, err := tree.Owner(1 << 22); err == nil {
		t.Error("nobody has an owner")
	}
}

// What an earlier container of that name left is ended.
func TestCreateAgain(t *testing.T) {
	tree := open(t)
	g, err := tree.Create(t.Context(), "app", 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	old := sleeper(t)
	if err := g.Add(old.Process.Pid); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { old.Wait(); close(ended) }()
	if g, err = tree.Create(t.Context(), "app", 10, nil); err != nil {
		t.Fatal(err)
	}
	<-ended
	if pids := g.PIDs(); len(pids) != 0 {
		t.Errorf("processes %v", pids)
	}
	version := 2
	if _, err := os.Stat("/sys/fs/cgroup/pids"); err == nil {
		version = 1
	}
	if _, err := tree.Create(t.Context(), "other", 10, []cgroup.Setting{{Version: version, Key: "pids.nosuch", Value: "1"}}); tree.Limits() && err == nil {
		t.Error("a setting that does not exist was taken")
	}
	names, err := tree.Sweep(t.Context())
	if !slices.Contains(names, "app") || err != nil {
		t.Errorf("swept %v %v", names, err)
	}
}
