package container

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// GoTool is the Go toolchain for go layers.
type GoTool struct {
	Path string   // of the go command; "" means that there is none
	Env  []string // its environment: HOME, PATH, GOPROXY and the like
}

// ErrNoGo is a go layer without a Go toolchain to build it.
var ErrNoGo = errors.New("this needs the Go toolchain, and there is no go command on PATH")

// program is one go build that several containers may share.
type program struct {
	dir, pkg, ldflags, tags string
	arch                    Arch
}

type programResult struct {
	once sync.Once
	file string
	err  error
}

func (a *assembly) program(ctx context.Context, l *Layer) error {
	dir, err := filepath.Abs(a.def.Dir)
	if err != nil {
		return err
	}
	p := program{dir: dir, pkg: a.expand(l.Value), ldflags: l.LDFlags, tags: strings.Join(l.Tags, ","), arch: a.arch}
	if p.pkg == "." || strings.HasPrefix(p.pkg, "./") || strings.HasPrefix(p.pkg, "../") {
		// Where the definition stands must not matter to whoever shares it.
		p.dir, p.pkg = filepath.Join(dir, filepath.FromSlash(p.pkg)), "."
	}
	file, err := a.b.program(ctx, p)
	if err != nil {
		return err
	}
	at := l.At
	if at == "" {
		base := path.Base(a.expand(l.Value))
		if base == "." || base == ".." {
			base = filepath.Base(p.dir)
		}
		at = "/usr/bin/" + base
	}
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	return a.put(l, at, &rootfs.Node{Kind: rootfs.File, Mode: 0o755, Content: hostProgram{file, st.Size()}})
}

// hostProgram is a program that the Builder keeps in its own folder.
type hostProgram struct {
	file string
	size int64
}

func (h hostProgram) Size() int64                  { return h.size }
func (h hostProgram) Open() (io.ReadCloser, error) { return os.Open(h.file) }

// program builds p, or waits for the build of it that is under way.
func (b *Builder) program(ctx context.Context, p program) (string, error) {
	b.mu.Lock()
	r := b.programs[p]
	if r == nil {
		r = &programResult{file: filepath.Join(b.temp, fmt.Sprintf("program-%d", len(b.programs)))}
		b.programs[p] = r
	}
	b.mu.Unlock()
	r.once.Do(func() { r.err = b.goBuild(ctx, p, r.file) })
	return r.file, r.err
}

// goBuild runs the Go command. What it makes depends on the sources, the flags
// and the toolchain, and not on where the sources lie, on version control, or
// on settings of the user.
func (b *Builder) goBuild(ctx context.Context, p program, out string) error {
	info, err := p.arch.info()
	if err != nil {
		return err
	}
	if b.opts.Go.Path == "" {
		return ErrNoGo
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-o", out, "-ldflags=" + strings.TrimSpace("-s -w -buildid= "+p.ldflags)}
	if p.tags != "" {
		args = append(args, "-tags="+p.tags)
	}
	cmd := exec.CommandContext(ctx, b.opts.Go.Path, append(args, "--", p.pkg)...)
	cmd.Dir = p.dir
	// A slice of its own: builds run at the same time, and appending to the
	// shared one would give a build another's GOARCH.
	cmd.Env = slices.Concat(b.opts.Go.Env, []string{
		"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + info.goarch, info.tuning,
		// A value, because an empty variable would let the user's file of
		// "go env -w" decide (cmd/go/internal/cfg, Getenv).
		"GOFLAGS=-trimpath", "GOFIPS140=off", "PWD=" + p.dir,
	})
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	var messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &messages, &messages
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("go build %s for %s: %w\n%s", p.pkg, p.arch, err, strings.TrimSpace(messages.String()))
	}
	return checkProgram(out, p.pkg)
}

// checkProgram makes sure that go build left a program that needs nothing
// else: of a package that is not main it makes an archive.
func checkProgram(file, pkg string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("package %s is not a program (package main): %w", pkg, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("program %s is linked dynamically", pkg)
		}
	}
	return nil
}
