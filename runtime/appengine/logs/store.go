package logs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"
)

// store writes sinks to files. It belongs to the goroutine in Run, except for
// its packer.
type store struct {
	s      *Server
	files  map[*sink]*file
	number map[string]int  // the last one that a log's archives have had
	known  map[string]bool // the files that this server has opened
	uses   int             // counts the uses of files
	total  int64           // bytes of the running revision's logs
	ofRev  string
	full   bool      // a write has failed; nothing is written until retry
	retry  time.Time // when to try again
	// After a rotation or deletion that did not help, the next waits: its note
	// is written, and would lead to another.
	nextRotate, nextPrune time.Time
	packer                *packer
	index                 *index
}

// file is an open file of a sink.
type file struct {
	*os.File
	size  int64
	n     int // the number that it gets when it is rotated
	noted time.Time
	used  int // the store's count at the last use
}

func newStore(s *Server) *store {
	return &store{s: s, files: map[*sink]*file{}, number: map[string]int{}, known: map[string]bool{}, packer: newPacker(s), index: newIndex(s.root)}
}

// write writes what a sink has. current says that it will get more. It reports
// false where the bytes have to wait.
func (t *store) write(k *sink, current bool) bool {
	if t.full && t.s.opts.Clock().Before(t.retry) {
		return false
	}
	b, owed := k.take()
	defer k.recycle(b)
	if len(b) == 0 {
		return true
	}
	f, err := t.open(k)
	n := 0
	if err == nil {
		n, err = t.put(k, f, b)
	}
	owed = credit(owed, int64(n))
	if err != nil {
		k.putBack(append([]byte(nil), b[n:]...), owed)
		t.block(k, err)
		return false
	}
	if t.full {
		t.full = false
		t.s.own.Logf(Warn, "logs are written again")
	}
	if !k.abs && f.size >= t.s.Config().limits().rotate && !t.s.opts.Clock().Before(t.nextRotate) {
		t.rotate(k, f)
	}
	if !current {
		t.drop(k)
	}
	return true
}

// put writes bytes at the end of the file, with a mark in the index before.
func (t *store) put(k *sink, f *file, b []byte) (int, error) {
	now := t.s.opts.Clock()
	if !k.abs && now.Sub(f.noted) >= markEvery {
		t.index.mark(k.rev, mark{at: now, file: k.name, n: f.n, offset: f.size})
		f.noted = now
	}
	n, err := f.Write(b)
	f.size += int64(n)
	if !k.abs && k.rev == t.ofRev {
		t.total += int64(n)
	}
	return n, err
}

// block notes once that nothing can be written, makes room if archives can be
// spared, and sets the time of the next try.
func (t *store) block(k *sink, err error) {
	t.drop(k)
	t.retry = t.s.opts.Clock().Add(time.Second)
	if t.full {
		return
	}
	t.full = true
	t.s.opts.Note(fmt.Sprintf("logs cannot be written: they wait, and what finds no room is dropped: %s: %v", k.name, err))
}

// open opens a sink's file, and opens it anew where somebody has removed it.
func (t *store) open(k *sink) (*file, error) {
	if f, ok := t.files[k]; ok {
		if info, err := f.Stat(); err == nil && linked(info) {
			t.uses++
			f.used = t.uses
			return f, nil
		}
		t.drop(k)
	}
	t.spare()
	f, err := t.openFile(k)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is not a regular file", f.Name()), f.Close())
	}
	o := &file{File: f, size: info.Size()}
	if err := t.mend(k, o); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if !k.abs {
		if o.n, err = t.next(path.Join(k.rev, k.name)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	t.uses++
	o.used = t.uses
	t.files[k] = o
	return o, nil
}

// mend ends the line within which an earlier server was killed, so that ours
// begins a new one.
func (t *store) mend(k *sink, f *file) error {
	name := path.Join(k.rev, k.name)
	if t.known[name] {
		return nil
	}
	t.known[name] = true
	last := []byte{'\n'}
	if f.size > 0 {
		if _, err := f.ReadAt(last, f.size-1); err != nil {
			return err
		}
	}
	if last[0] == '\n' {
		return nil
	}
	n, err := f.Write([]byte{'\n'})
	f.size += int64(n)
	return err
}

// maxOpen bounds the open files: every source has one.
const maxOpen = 128

// spare closes the file that was not used for the longest time, where there is
// no room for another.
func (t *store) spare() {
	if len(t.files) < maxOpen {
		return
	}
	var oldest *sink
	for k, f := range t.files {
		if oldest == nil || f.used < t.files[oldest].used {
			oldest = k
		}
	}
	t.drop(oldest)
}

func (t *store) openFile(k *sink) (*os.File, error) {
	if k.abs {
		if err := os.MkdirAll(filepath.Dir(k.name), 0o755); err != nil {
			return nil, err
		}
		return os.OpenFile(k.name, openFlags, 0o644)
	}
	name := path.Join(k.rev, k.name)
	if err := t.s.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return nil, err
	}
	return t.s.root.OpenFile(name, openFlags, 0o644)
}

// drop closes a sink's file.
func (t *store) drop(k *sink) {
	if f, ok := t.files[k]; ok {
		delete(t.files, k)
		_ = f.Close()
	}
}

// tidy follows a change of the revision, and deletes archives when there is
// too much.
func (t *store) tidy(rev string) {
	if rev != t.ofRev {
		t.ofRev = rev
		for k := range t.files {
			if k.abs || k.rev != rev {
				t.drop(k)
			}
		}
		t.index.close()
		clear(t.number)
		clear(t.known)
		t.measure()
		t.packer.leftOver(rev)
	}
	t.total += t.packer.gained()
	if rev != "" && t.total >= t.s.Config().limits().high && !t.s.opts.Clock().Before(t.nextPrune) {
		t.prune()
	}
}

// busy says that the store wants another round soon.
func (t *store) busy() bool { return t.packer.busy() }

func (t *store) close() {
	for k := range t.files {
		t.drop(k)
	}
	t.index.close()
}

// measure counts the bytes of the running revision's logs.
func (t *store) measure() {
	t.total = 0
	for _, d := range walk(t.s.root.FS(), t.ofRev) {
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			t.total += info.Size()
		}
	}
}
