package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Boot is what the bootloader is told: the revision to run, and one to try
// once before it.
type Boot struct {
	Rev string
	Try string // "" for none
}

const (
	bootRev = "pv_rev"
	bootTry = "pv_try"
	// maxBootState is how much is read: the runtime's own writer pads to
	// 64 KiB (pantavisor's uboot.c, MTD_ENV_SIZE).
	maxBootState = 64 << 10
)

func (s *Store) bootFile() string { return filepath.Join(s.dir, "boot", "uboot.txt") }

// Boot reads the boot state. The error matches ErrNotExist if there is none,
// and ErrBootState if it names no revision.
func (s *Store) Boot() (Boot, error) {
	f, err := os.Open(s.bootFile())
	if errors.Is(err, fs.ErrNotExist) {
		return Boot{}, fmt.Errorf("boot state: %w", ErrNotExist)
	}
	if err != nil {
		return Boot{}, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxBootState+1))
	if err != nil {
		return Boot{}, err
	}
	b, err := DecodeBoot(src)
	if err != nil {
		return Boot{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return b, nil
}

// SetBoot writes the boot state.
func (s *Store) SetBoot(b Boot) error {
	src, err := b.Encode()
	if err != nil {
		return err
	}
	return replaceFile(s.temp(), s.bootFile(), src)
}

// DecodeBoot reads name=value pairs that end with NUL; NULs beyond that, and
// the 0xff of erased flash, are padding. Other names are ignored, an empty
// value is none, and of several with one name the last counts.
func DecodeBoot(src []byte) (Boot, error) {
	if len(src) > maxBootState {
		return Boot{}, fmt.Errorf("%w: larger than %d bytes", ErrBootState, maxBootState)
	}
	var b Boot
	for entry := range bytes.SplitSeq(bytes.TrimRight(src, "\x00\xff\n"), []byte{0}) {
		name, value, ok := strings.Cut(string(entry), "=")
		if !ok {
			continue
		}
		switch name {
		case bootRev:
			b.Rev = value
		case bootTry:
			b.Try = value
		}
	}
	return b, b.check()
}

func (b Boot) check() error {
	if b.Rev == "" {
		return fmt.Errorf("%w: no revision in %s", ErrBootState, bootRev)
	}
	if err := CheckRevision(b.Rev); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBootState, bootRev, err)
	}
	if b.Try != "" {
		if err := CheckRevision(b.Try); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrBootState, bootTry, err)
		}
	}
	return nil
}

// Encode writes the boot state as pv-appengine's shell does: pv_rev first,
// because the shell finds the values by their order, and two NULs at the end,
// which the C reader takes for it.
func (b Boot) Encode() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	out := bootRev + "=" + b.Rev + "\x00"
	if b.Try != "" {
		out += bootTry + "=" + b.Try + "\x00"
	}
	return []byte(out + "\x00"), nil
}
