package storage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pvkit/pvkit/internal/atomicfile"
)

// MaxMeta is how long a value of metadata may be (the limit of the pv-ctrl API
// lies below it).
const MaxMeta = 64 << 10

// Entry is a metadata key with its value.
type Entry struct {
	Key, Value string
}

// Meta is a set of metadata, a file for each key. A new key comes first, a
// changed one keeps its place; the order lies in the times of the files, which
// never are equal, and so outlives the engine.
type Meta struct {
	dir, temp string

	mu     sync.Mutex // guards what follows
	keys   []string   // newest first
	values map[string]string
	times  map[string]time.Time
	newest time.Time
}

// CheckKey says whether a key can name a file. The error matches ErrKey.
func CheckKey(key string) error {
	bad := func(reason string) error { return fmt.Errorf("%w: %q %s", ErrKey, key, reason) }
	switch {
	case key == "":
		return bad("is empty")
	case key == "." || key == "..":
		return bad("is a directory's name")
	case len(key) > 255:
		return bad("is longer than 255 bytes")
	case strings.ContainsAny(key, "/\x00"):
		return bad(`has a "/" or NUL`)
	}
	return nil
}

func openMeta(dir, temp string) (*Meta, error) {
	m := &Meta{dir: dir, temp: temp, values: map[string]string{}, times: map[string]time.Time{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			return nil, err
		}
		if !st.Mode().IsRegular() || st.Size() > MaxMeta {
			continue
		}
		value, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		m.values[e.Name()], m.times[e.Name()] = string(value), st.ModTime()
		m.keys = append(m.keys, e.Name())
		if st.ModTime().After(m.newest) {
			m.newest = st.ModTime()
		}
	}
	slices.SortFunc(m.keys, func(a, b string) int {
		return cmp.Or(m.times[b].Compare(m.times[a]), strings.Compare(a, b))
	})
	return m, nil
}

// All returns the entries, newest first.
func (m *Meta) All() []Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Entry, len(m.keys))
	for i, key := range m.keys {
		all[i] = Entry{key, m.values[key]}
	}
	return all
}

// Get returns the value of a key.
func (m *Meta) Get(key string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	return v, ok
}

// Set stores a value. Errors match ErrKey, ErrTooLarge or ErrNoSpace.
func (m *Meta) Set(key, value string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if len(value) > MaxMeta {
		return fmt.Errorf("metadata %q: %w: %d bytes, at most %d", key, ErrTooLarge, len(value), MaxMeta)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, known := m.values[key]
	if known && old == value {
		return nil // on the disk already
	}
	at := m.times[key]
	if !known {
		at = m.next()
	}
	if err := m.write(key, value, at); err != nil {
		return full(fmt.Errorf("store metadata %q: %w", key, err))
	}
	m.values[key] = value
	if !known {
		m.times[key], m.newest = at, at
		m.keys = slices.Insert(m.keys, 0, key)
	}
	return nil
}

// next is a time for a new key: later than all others, whatever the clock says.
func (m *Meta) next() time.Time {
	if now := time.Now(); now.After(m.newest) {
		return now
	}
	return m.newest.Add(time.Microsecond)
}

func (m *Meta) write(key, value string, at time.Time) error {
	f, err := atomicfile.CreateIn(m.temp, filepath.Join(m.dir, key), 0o644)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.WriteString(value); err != nil {
		return err
	}
	if err := os.Chtimes(f.Name(), at, at); err != nil {
		return err
	}
	return f.Commit()
}

// Delete removes a key. The error matches ErrNotExist if there is none.
func (m *Meta) Delete(key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.values[key]; !ok {
		return fmt.Errorf("metadata %q: %w", key, ErrNotExist)
	}
	if err := remove(filepath.Join(m.dir, key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete metadata %q: %w", key, err)
	}
	delete(m.values, key)
	delete(m.times, key)
	m.keys = slices.DeleteFunc(m.keys, func(k string) bool { return k == key })
	return nil
}
