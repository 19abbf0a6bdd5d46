package pvrexport

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
)

// Limits bounds what a bundle may cost. A zero field means its default.
type Limits struct {
	Objects    int   // entries with objects; 65,536
	ObjectSize int64 // bytes of one object; 8 GiB - 1, which is what devices read
	TotalSize  int64 // bytes of the archive after decompression; 64 GiB
}

func (l Limits) withDefaults() Limits {
	if l.Objects == 0 {
		l.Objects = 1 << 16
	}
	if l.ObjectSize == 0 {
		l.ObjectSize = maxObjectSize
	}
	if l.TotalSize == 0 {
		l.TotalSize = 64 << 30
	}
	return l
}

// Import reads a bundle, hands its objects to sink and returns its state. The
// archive may be compressed with gzip, zstd or not at all; the state may come
// first or last. It takes what pvr writes (objects in any order, or more than
// once) and what `tar` makes of the same files ("./" before names, a directory
// "objects/"). Everything else is an error with its place, an *EntryError:
// digests that differ, other names, links and devices, objects that the state
// does not name or that are missing, a second state, damage, data behind the
// end, a limit.
//
// When Import fails, objects that were right may have reached the sink. A sink
// names objects by their digest, so that none of them can be a wrong one.
func Import(ctx context.Context, r io.Reader, sink ObjectSink, lim Limits) (*State, error) {
	imp := &importer{ctx: ctx, sink: sink, lim: lim.withDefaults(), observer: strict{}}
	if err := imp.run(r); err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	return imp.state, nil
}

// observer decides what a problem means for the rest of the work.
type observer interface {
	// problem is something for which Import refuses the bundle. If it returns
	// nil, the entry is skipped and the work goes on.
	problem(rule string, err *EntryError) error
	// entry sees each header before it is used.
	entry(imp *importer, e *entry)
	// end sees how the archive ended.
	end(complete bool)
}

// strict is the observer of Import.
type strict struct{}

func (strict) problem(_ string, err *EntryError) error { return err }
func (strict) entry(*importer, *entry)                 {}
func (strict) end(bool)                                {}

type importer struct {
	ctx      context.Context
	sink     ObjectSink
	lim      Limits
	observer observer

	archive  *archive
	state    *State
	named    map[string]bool  // the objects of the state, once it is known
	seen     map[string]int64 // the good objects so far, and where they stood
	entries  int              // with objects
	buf      []byte
	previous string // name of the entry before
	badState bool   // there was a "json" that is no state
}

// names of the rules that Import enforces; Verify reports them as findings.
const (
	ruleArchive   = "archive"
	ruleName      = "entry-name"
	ruleType      = "entry-type"
	ruleState     = "state"
	ruleTwoStates = "state-twice"
	ruleNoState   = "state-missing"
	ruleDigest    = "object-digest"
	ruleUnknown   = "object-unknown"
	ruleMissing   = "object-missing"
	ruleLimit     = "limit"
)

func (m *importer) run(r io.Reader) error {
	m.seen = map[string]int64{}
	m.buf = make([]byte, 1<<18)
	a, err := openArchive(m.ctx, r, m.lim.TotalSize)
	if err != nil {
		return err
	}
	defer a.close()
	m.archive = a
	for {
		e, err := a.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := m.take(e); err != nil {
			return err
		}
		m.previous = e.Name
	}
	complete, err := a.finish()
	if err != nil {
		return err
	}
	m.observer.end(complete)
	return m.settle()
}

// take deals with one entry.
func (m *importer) take(e *entry) error {
	m.observer.entry(m, e)
	name := strings.TrimPrefix(e.Name, "./")
	switch {
	case e.Typeflag == tar.TypeXGlobalHeader:
		return nil // comments and defaults, which no field here uses
	case e.Typeflag == tar.TypeDir && (name == objectsDir || name == ""):
		return nil
	case sparse(e):
		// Not skipped: the holes of one header can be terabytes to read.
		return &EntryError{Entry: e.Name, Offset: e.offset, Err: fmt.Errorf("it is a sparse file: %w", ErrEntryType)}
	case e.Typeflag != tar.TypeReg:
		return m.problem(ruleType, e, fmt.Errorf("it is a %s: %w", typeName(e.Typeflag), ErrEntryType))
	case name == stateEntry:
		return m.takeState(e)
	}
	id, ok := strings.CutPrefix(name, objectsDir)
	if !ok || !IsObjectID(id) {
		return m.problem(ruleName, e, ErrEntryName)
	}
	return m.takeObject(e, id)
}

// sparse knows GNU tar's old form and the one in PAX records.
func sparse(e *entry) bool {
	for key := range e.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return e.Typeflag == tar.TypeGNUSparse
}

func typeName(flag byte) string {
	switch flag {
	case tar.TypeDir:
		return "directory"
	case tar.TypeSymlink:
		return "symbolic link"
	case tar.TypeLink:
		return "hard link"
	case tar.TypeChar, tar.TypeBlock:
		return "device"
	case tar.TypeFifo:
		return "fifo"
	}
	return fmt.Sprintf("tar type %q", flag)
}

func (m *importer) problem(rule string, e *entry, err error) error {
	return m.observer.problem(rule, &EntryError{Entry: e.Name, Offset: e.offset, Err: err})
}

func (m *importer) takeState(e *entry) error {
	if m.state != nil || m.badState {
		return m.problem(ruleTwoStates, e, ErrTwoStates)
	}
	m.badState = true // until it has been read
	if e.Size > MaxStateSize {
		return m.problem(ruleLimit, e, fmt.Errorf("the state has %d bytes, more than %d: %w", e.Size, MaxStateSize, ErrLimit))
	}
	src, err := io.ReadAll(m.archive.tr)
	if err != nil {
		return m.archive.damaged(err)
	}
	s, err := decodeState(src)
	if err != nil {
		return m.problem(ruleState, e, err)
	}
	m.state, m.badState = s, false
	m.named = map[string]bool{}
	for _, id := range s.Objects() {
		m.named[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(m.seen)) {
		if !m.named[id] {
			early := &EntryError{Entry: objectsDir + id, Offset: m.seen[id], Err: ErrUnknownObject}
			if err := m.observer.problem(ruleUnknown, early); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *importer) takeObject(e *entry, id string) error {
	m.entries++
	switch {
	case m.named != nil && !m.named[id]:
		return m.problem(ruleUnknown, e, ErrUnknownObject)
	case m.entries > m.lim.Objects:
		// Not skipped: what follows would have no bound.
		return &EntryError{Entry: e.Name, Offset: e.offset, Err: fmt.Errorf("more than %d objects: %w", m.lim.Objects, ErrLimit)}
	case e.Size > m.lim.ObjectSize:
		return m.problem(ruleLimit, e, fmt.Errorf("the object has %d bytes, more than %d: %w", e.Size, m.lim.ObjectSize, ErrLimit))
	}
	sink := m.sink
	if _, again := m.seen[id]; again {
		sink = Discard // pvr repeats objects; the copy need only be right
	}
	w, err := sink.CreateObject(id, e.Size)
	if err != nil {
		return fmt.Errorf("store object %s: %w", id, err)
	}
	defer w.Abort()
	h := sha256.New()
	if err := m.copy(w, h); err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != id {
		return m.problem(ruleDigest, e, &DigestError{ID: id, Got: sum})
	}
	if err := w.Commit(); err != nil {
		return fmt.Errorf("store object %s: %w", id, err)
	}
	if _, again := m.seen[id]; !again {
		m.seen[id] = e.offset
	}
	return nil
}

// copy moves the entry's content and tells errors of the archive from errors
// of the sink.
func (m *importer) copy(w io.Writer, h hash.Hash) error {
	for {
		n, err := m.archive.tr.Read(m.buf)
		h.Write(m.buf[:n])
		if _, werr := w.Write(m.buf[:n]); werr != nil {
			return fmt.Errorf("store %s: %w", m.archive.entry.Name, werr)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return m.archive.damaged(err)
		}
	}
}

// settle asks, after the last entry, whether all is there.
func (m *importer) settle() error {
	if m.badState {
		return nil // the observer knows
	}
	if m.state == nil {
		return m.observer.problem(ruleNoState, &EntryError{Offset: m.archive.offset, Err: ErrNoState})
	}
	for _, id := range m.state.Objects() {
		if _, ok := m.seen[id]; !ok {
			err := &EntryError{Entry: objectsDir + id, Offset: m.archive.offset, Err: ErrMissingObject}
			if err := m.observer.problem(ruleMissing, err); err != nil {
				return err
			}
		}
	}
	return nil
}
