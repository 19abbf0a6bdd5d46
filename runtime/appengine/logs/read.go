package logs

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Entry is one line of a log.
type Entry struct {
	Time      time.Time `json:"time"` // when it was written; where nothing tells, when its file was
	Revision  string    `json:"revision"`
	Container string    `json:"container"`       // Pantavisor for the runtime
	Source    string    `json:"source"`          // a file of the container, or the runtime's module
	Level     string    `json:"level,omitempty"` // of the runtime's lines
	Text      string    `json:"text"`
}

// ReadOptions chooses what Read reads. The zero value means everything of the
// running revision.
type ReadOptions struct {
	Containers []string      // and Pantavisor; empty means all
	Revision   string        // empty means the running one
	Since      time.Time     // what is older is left out
	Last       int           // only this many lines of what is there; 0 means all
	Follow     bool          // go on until the context is done
	Every      time.Duration // how often to look for more; 0 means 200 ms
}

// ErrNoLogs means that no revision has logged anything in a directory.
var ErrNoLogs = errors.New("there are no logs")

// Read reads a log directory, older parts included, and calls emit with each
// line in the order of time. Lines of one file stay in their order. With
// Follow it goes on with what is written, through rotations and, unless
// Options.Revision says which, changes of the revision; it returns nil when ctx
// is done. It works for a directory that another program writes, but only our
// server leaves behind when each line was written.
func Read(ctx context.Context, dir string, o ReadOptions, emit func(Entry) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("read logs: %w", err)
	}
	defer root.Close()
	if o.Every <= 0 {
		o.Every = 200 * time.Millisecond
	}
	r := &reading{root: root, o: o, emit: emit}
	defer r.close()
	if err := r.begin(); err != nil {
		return err
	}
	return r.run(ctx)
}

// Containers lists whose logs there are of the running revision, Pantavisor
// among them.
func Containers(dir string) ([]string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	rev, err := currentRev(root)
	if err != nil {
		return nil, err
	}
	list, err := fs.ReadDir(root.FS(), rev)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// currentRev is where the link to the running revision leads.
func currentRev(root *os.Root) (string, error) {
	to, err := root.Readlink("current")
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w", root.Name(), ErrNoLogs)
	}
	if err != nil {
		return "", err
	}
	// An absolute link leads to a folder of the directory under the name that
	// the directory has where it was written.
	if path.IsAbs(to) {
		if below, ok := strings.CutPrefix(to, path.Clean(root.Name())+"/"); ok {
			to = below
		} else if i := strings.LastIndex(to, "/logs/"); i >= 0 {
			to = to[i+len("/logs/"):]
		}
	}
	if to = path.Clean(to); !fs.ValidPath(to) {
		return "", fmt.Errorf("the link to the running revision's logs leads to %s", to)
	}
	return to, nil
}

// reading is a Read on its way.
type reading struct {
	root    *os.Root
	o       ReadOptions
	emit    func(Entry) error
	rev     string
	marks   *marks
	streams map[string]*stream
	old     []*stream // of the revision before, to be read to their end
}

func (r *reading) begin() error {
	if r.rev = r.o.Revision; r.rev == "" {
		rev, err := currentRev(r.root)
		if r.o.Follow && errors.Is(err, ErrNoLogs) {
			err = nil // they may come
		} else if r.rev = rev; err == nil {
			r.open()
		}
		return err
	}
	if !fs.ValidPath(r.rev) {
		return fmt.Errorf("revision %q: not a revision's name", r.rev)
	}
	if _, err := r.root.Stat(r.rev); err != nil && !r.o.Follow {
		return fmt.Errorf("revision %s: %w", r.rev, ErrNoLogs)
	}
	r.open()
	return nil
}

func (r *reading) open() {
	r.streams = map[string]*stream{}
	r.marks = newMarks(r.root, path.Join(r.rev, indexFile))
}

func (r *reading) close() {
	for _, s := range r.old {
		s.close()
	}
	for _, s := range r.streams {
		s.close()
	}
}

func (r *reading) run(ctx context.Context) error {
	emit := r.emit
	var last []Entry
	if r.o.Last > 0 {
		r.emit = func(e Entry) error {
			if len(last) == r.o.Last {
				last = append(last[:0], last[1:]...)
			}
			last = append(last, e)
			return nil
		}
	}
	for first := true; first || r.o.Follow && ctx.Err() == nil; first = false {
		r.look()
		if err := r.merge(ctx, !r.o.Follow); err != nil {
			return err
		}
		if first && r.o.Last > 0 {
			r.emit = emit
			for _, e := range last {
				if err := emit(e); err != nil {
					return err
				}
			}
		}
		if r.o.Follow {
			sleep(ctx, r.o.Every)
		}
	}
	return nil
}

// look finds new files, new marks and a new revision.
func (r *reading) look() {
	for _, s := range r.old {
		s.close()
	}
	r.old = nil
	if r.o.Revision == "" && r.o.Follow {
		if rev, err := currentRev(r.root); err == nil && rev != r.rev {
			for _, s := range r.streams {
				r.old = append(r.old, s)
			}
			r.rev = rev
			r.open()
		}
	}
	if r.streams == nil {
		return
	}
	r.marks.load()
	for _, name := range r.files() {
		if r.streams[name] == nil {
			r.streams[name] = newStream(r.root, r.rev, name, r.marks, r.o.Since)
		}
	}
}

// files lists the logs of the revision, archives under their log's name.
func (r *reading) files() []string {
	found := map[string]bool{}
	for name, d := range walk(r.root.FS(), r.rev) {
		rel := strings.TrimPrefix(strings.TrimPrefix(name, r.rev), "/")
		first, _, below := strings.Cut(rel, "/")
		if !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") ||
			below && len(r.o.Containers) > 0 && !slices.Contains(r.o.Containers, first) {
			continue
		}
		if log, _, _, ok := parseArchive(d.Name()); ok {
			rel = path.Join(path.Dir(rel), log)
		}
		if below || rel == singleFile {
			found[rel] = true
		}
	}
	if len(found) > 1 {
		delete(found, singleFile) // the same again
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

const singleFile = "pv.log"

// merge emits what all streams have now. all says that an unfinished line is
// one.
func (r *reading) merge(ctx context.Context, all bool) error {
	var q queue
	for _, s := range r.old {
		q.add(s, true)
	}
	for _, s := range r.streams {
		q.add(s, all)
	}
	heap.Init(&q)
	for len(q) > 0 {
		if ctx.Err() != nil {
			break
		}
		s := q[0]
		if e := s.entry(); r.wanted(e) {
			if err := r.emit(e); err != nil {
				return err
			}
		}
		if s.next(s.all) {
			heap.Fix(&q, 0)
		} else {
			heap.Pop(&q)
		}
	}
	if r.o.Follow {
		return nil // to be told to end is no failure
	}
	return ctx.Err()
}

func (r *reading) wanted(e Entry) bool {
	return !e.Time.Before(r.o.Since) && (len(r.o.Containers) == 0 || slices.Contains(r.o.Containers, e.Container))
}

// queue is a heap of the streams that have a line, the oldest first.
type queue []*stream

func (q *queue) add(s *stream, all bool) {
	if s.all = all; s.next(all) {
		*q = append(*q, s)
	}
}

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	return cmp.Or(q[i].at.Compare(q[j].at), strings.Compare(q[i].name, q[j].name)) < 0
}

// Push implements heap.Interface.
func (q *queue) Push(x any) { *q = append(*q, x.(*stream)) }

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	s := old[len(old)-1]
	*q = old[:len(old)-1]
	return s
}
