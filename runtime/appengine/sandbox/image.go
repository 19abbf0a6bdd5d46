package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// unpacked returns a directory with an image's files. It is named after the
// image's digest and made once.
func (h *Host) unpacked(ctx context.Context, v Volume) (string, error) {
	f, err := os.Open(v.Image)
	if err != nil {
		return "", err
	}
	defer f.Close()
	digest, err := digestOf(f, v.Digest)
	if err != nil {
		return "", err
	}
	h.mu.Lock()
	one := h.images[digest]
	if one == nil {
		one = &sync.Mutex{}
		h.images[digest] = one
	}
	h.mu.Unlock()
	one.Lock()
	defer one.Unlock()
	dir := filepath.Join(h.opts.ImageDir, digest)
	if _, err := os.Lstat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(h.opts.ImageDir, 0o755); err != nil {
		return "", err
	}
	if err := h.unpack(ctx, f, dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) { // another runtime was faster
		return "", fmt.Errorf("unpack %s: %w", v.Image, err)
	}
	return dir, nil
}

// digestOf is the digest that names the copy: the one the caller knows, or that
// of the bytes.
func digestOf(f *os.File, known string) (string, error) {
	if b, err := hex.DecodeString(known); err == nil && len(b) == sha256.Size {
		return strings.ToLower(known), nil
	}
	if known != "" {
		return "", fmt.Errorf("%q is not the digest of an image", known)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (h *Host) unpack(ctx context.Context, f *os.File, dir string) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	im, err := squashfs.Open(f, st.Size())
	if err != nil {
		return err
	}
	tree, err := im.Tree(ctx)
	if err != nil {
		return err
	}
	skipped, err := rootfs.Extract(ctx, tree, dir)
	if err != nil {
		return err
	}
	if len(skipped) > 0 {
		h.log.Info("a copy of an image has no owners or devices that this user may not make", "image", f.Name(), "things", len(skipped))
	}
	return nil
}

// Prune removes the copies of images whose digests are not kept. A copy that a
// mounted volume uses must be among those.
func (h *Host) Prune(keep []string) error {
	entries, err := os.ReadDir(h.opts.ImageDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if !slices.Contains(keep, e.Name()) {
			errs = append(errs, removeAll(filepath.Join(h.opts.ImageDir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
