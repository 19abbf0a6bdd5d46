package pvtx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/pvrexport"
)

// An item of a queue is an entry of its directory: "NNN__<part>.remove", a
// file, or "NNN__<name>", a directory with the state of a bundle. Names are
// escaped as in a URL.
const (
	itemSeparator = "__"
	removeSuffix  = ".remove"
	itemState     = "json"
)

// NewQueue makes a queue in a directory, or takes up the one that is there.
// Objects of bundles go to the other directory.
func (t *Tx) NewQueue(dir, objects string) error {
	if t.status.Phase == Active {
		return ErrActive
	}
	next := Status{Phase: Queueing}
	for _, d := range []struct {
		to   *string
		from string
	}{{&next.Queue, dir}, {&next.Objects, objects}} {
		abs, err := filepath.Abs(d.from)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(abs, 0o755); err != nil {
			return fmt.Errorf("make queue: %w", err)
		}
		*d.to = abs
	}
	return t.save(next, nil)
}

func (t *Tx) queue() error {
	if t.status.Queue == "" {
		return ErrNoQueue
	}
	if st, err := os.Stat(t.status.Queue); err != nil || !st.IsDir() {
		return fmt.Errorf("%w: %s is no directory", ErrNoQueue, t.status.Queue)
	}
	return nil
}

// item is an entry of a queue.
type item struct {
	number int
	name   string // of the entry
	part   string // what it is about
	remove bool
}

// items returns the queue in its order. Other entries are none.
func (t *Tx) items() ([]item, error) {
	entries, err := os.ReadDir(t.status.Queue)
	if err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	var items []item
	for _, e := range entries {
		number, name, ok := strings.Cut(e.Name(), itemSeparator)
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 {
			continue
		}
		it := item{number: n, name: e.Name()}
		if !e.IsDir() {
			if name, it.remove = strings.CutSuffix(name, removeSuffix); !it.remove {
				continue
			}
		}
		if it.part, err = url.PathUnescape(name); err != nil {
			return nil, fmt.Errorf("read queue: %s: %w", e.Name(), err)
		}
		items = append(items, it)
	}
	// Not by name: after 999 comes 1000.
	slices.SortFunc(items, func(a, b item) int {
		if a.number != b.number {
			return a.number - b.number
		}
		return strings.Compare(a.name, b.name)
	})
	return items, nil
}

// next is the path of the item that follows all others.
func (t *Tx) next(part string) (string, error) {
	items, err := t.items()
	if err != nil {
		return "", err
	}
	n := 0
	if len(items) > 0 {
		n = items[len(items)-1].number + 1
	}
	name := fmt.Sprintf("%03d%s%s", n, itemSeparator, url.PathEscape(part))
	if len(name)+len(removeSuffix) > 255 {
		return "", fmt.Errorf("queue %q: the name is too long for a file's", part)
	}
	return filepath.Join(t.status.Queue, name), nil
}

// QueueRemove appends the removal of a part.
func (t *Tx) QueueRemove(part string) error {
	if err := t.queue(); err != nil {
		return err
	}
	if part == "" {
		return fmt.Errorf("queue: %w: it has no name", pvrexport.ErrNoPart)
	}
	name, err := t.next(part)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(name+removeSuffix, nil, 0o644)
}

// QueueUnpack appends a bundle, or a state: its objects are stored at once.
// name is for people.
func (t *Tx) QueueUnpack(ctx context.Context, name string, r io.Reader) (*Added, error) {
	if err := t.queue(); err != nil {
		return nil, err
	}
	taken, err := takeLocal(ctx, r, t.status.Objects, t.opts.Limits)
	if err != nil {
		return nil, err
	}
	to, err := t.next(name)
	if err != nil {
		return nil, err
	}
	made, err := os.MkdirTemp(t.status.Queue, ".item-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(made)
	if err := errors.Join(os.Chmod(made, 0o755), atomicfile.WriteFile(filepath.Join(made, itemState), taken.State.Encode(), 0o644)); err != nil {
		return nil, err
	}
	return taken, os.Rename(made, to)
}

// Process applies the queue to the active transaction, in order: all of it, or
// nothing. What a queue removes need not be there. The queue stays.
func (t *Tx) Process(ctx context.Context) error {
	if err := t.active(); err != nil {
		return err
	}
	if err := t.queue(); err != nil {
		return err
	}
	items, err := t.items()
	if err != nil {
		return err
	}
	next := t.state.Clone()
	for _, it := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if it.remove {
			err = next.Remove(it.part)
			if errors.Is(err, pvrexport.ErrNoPart) {
				err = nil
			}
		} else {
			err = t.processAdd(next, it)
		}
		if err != nil {
			return fmt.Errorf("process %s: %w", it.name, err)
		}
	}
	return t.save(t.status, next)
}

func (t *Tx) processAdd(next *pvrexport.State, it item) error {
	f, err := os.Open(filepath.Join(t.status.Queue, it.name, itemState))
	if err != nil {
		return err
	}
	defer f.Close()
	state, err := pvrexport.DecodeState(f)
	if err != nil {
		return err
	}
	return next.Merge(state)
}
