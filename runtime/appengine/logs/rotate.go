package logs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
)

// openFlags never wait for the other end of a pipe that lies where a log
// should.
const openFlags = os.O_APPEND | os.O_CREATE | os.O_RDWR | syscall.O_NONBLOCK

func linked(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Nlink > 0
}

// pauseAfter is how long a rotation or deletion that failed is not tried again.
const pauseAfter = 10 * time.Second

// archive is an older part of a log: <log>.<n> while it waits to be
// compressed, <log>.<n>.gz then.
type archive struct {
	dir, log string
	n        int
	gz       bool
	size     int64
}

func (a archive) name() string {
	name := path.Join(a.dir, a.log) + "." + strconv.Itoa(a.n)
	if a.gz {
		name += ".gz"
	}
	return name
}

// parseArchive takes the name of an archive apart.
func parseArchive(name string) (log string, n int, gz, ok bool) {
	name, gz = strings.CutSuffix(name, ".gz")
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 {
		return "", 0, false, false
	}
	n, err := strconv.Atoi(name[dot+1:])
	if err != nil || n <= 0 || strconv.Itoa(n) != name[dot+1:] {
		return "", 0, false, false
	}
	return name[:dot], n, gz, true
}

// archives lists those in a folder; log "" means of every log.
func archives(fsys fs.FS, dir, log string) ([]archive, error) {
	list, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	var found []archive
	for _, e := range list {
		if of, n, gz, ok := parseArchive(e.Name()); ok && e.Type().IsRegular() && (log == "" || log == of) {
			a := archive{dir: dir, log: of, n: n, gz: gz}
			if info, err := e.Info(); err == nil {
				a.size = info.Size()
			}
			found = append(found, a)
		}
	}
	return found, nil
}

// next is the number that a log gets when it is rotated.
func (t *store) next(name string) (int, error) {
	found, err := archives(t.s.root.FS(), path.Dir(name), path.Base(name))
	if err != nil {
		return 0, fmt.Errorf("list the archives of %s: %w", name, err)
	}
	n := t.number[name] + 1
	for _, a := range found {
		n = max(n, a.n+1)
	}
	return n, nil
}

// rotate gives a file its number and lets the packer compress it. What is
// killed between the steps leaves a file that the next start compresses.
func (t *store) rotate(k *sink, f *file) {
	name := path.Join(k.rev, k.name)
	to := name + "." + strconv.Itoa(f.n)
	t.drop(k)
	if err := t.s.root.Rename(name, to); err != nil {
		t.nextRotate = t.s.opts.Clock().Add(pauseAfter)
		t.s.own.Logf(Warn, "rotate %s: %v", name, err)
		return
	}
	t.number[name] = f.n
	t.packer.add(to)
}

// prune deletes the oldest archives of the biggest folder until little enough
// is left, or nothing can be deleted.
func (t *store) prune() {
	lim := t.s.Config().limits()
	t.measure()
	if t.total < lim.high {
		return
	}
	before := t.total
	sizes, old := t.folders()
	for t.total > lim.low {
		var big string
		for dir := range old {
			if len(old[dir]) > 0 && (big == "" || sizes[dir] > sizes[big] || sizes[dir] == sizes[big] && dir < big) {
				big = dir
			}
		}
		if big == "" {
			break
		}
		a := oldest(old[big])
		old[big] = slices.DeleteFunc(old[big], func(b archive) bool { return b == a })
		if err := t.s.root.Remove(a.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.nextPrune = t.s.opts.Clock().Add(pauseAfter)
			t.s.own.Logf(Warn, "delete the archive %s: %v", a.name(), err)
			continue
		}
		t.total -= a.size
		sizes[big] -= a.size
	}
	if t.total >= lim.high {
		// What is left are files in use.
		t.nextPrune = t.s.opts.Clock().Add(pauseAfter)
	}
	if t.total < before {
		t.s.own.Logf(Debug, "deleted %d bytes of old logs", before-t.total)
	}
}

// folders lists the running revision's folders with their sizes and archives.
func (t *store) folders() (map[string]int64, map[string][]archive) {
	sizes, old := map[string]int64{}, map[string][]archive{}
	fsys := t.s.root.FS()
	for name, d := range walk(fsys, t.ofRev) {
		if d.IsDir() {
			old[name], _ = archives(fsys, name, "")
		} else if info, err := d.Info(); err == nil {
			sizes[path.Dir(name)] += info.Size()
		}
	}
	return sizes, old
}

// oldest is the first archive of the log that has the most.
func oldest(list []archive) archive {
	count := map[string]int{}
	for _, a := range list {
		count[a.log]++
	}
	return slices.MinFunc(list, func(a, b archive) int {
		if c := count[b.log] - count[a.log]; c != 0 {
			return c
		}
		if c := strings.Compare(a.log, b.log); c != 0 {
			return c
		}
		return a.n - b.n
	})
}

// packer compresses rotated files beside the writer.
type packer struct {
	s    *Server
	more chan struct{}

	mu    sync.Mutex // guards what follows
	todo  []string
	gain  int64 // bytes: negative for what became smaller
	works bool
}

func newPacker(s *Server) *packer { return &packer{s: s, more: make(chan struct{}, 1)} }

func (p *packer) add(name string) {
	p.mu.Lock()
	p.todo = append(p.todo, name)
	p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
}

func (p *packer) next() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.todo) == 0 {
		p.works = false
		return "", false
	}
	name := p.todo[0]
	p.todo, p.works = p.todo[1:], true
	return name, true
}

func (p *packer) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.works || len(p.todo) > 0 || p.gain != 0
}

// gained is by how much the compressed files differ from the plain ones, since
// the last call.
func (p *packer) gained() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.gain
	p.gain = 0
	return n
}

// leftOver finds what an earlier run has rotated and not compressed.
func (p *packer) leftOver(rev string) {
	if rev == "" {
		return
	}
	for name, d := range walk(p.s.root.FS(), rev) {
		if _, _, gz, ok := parseArchive(d.Name()); ok && !gz && d.Type().IsRegular() {
			p.add(name)
		}
	}
}

// compress works until stop, and finishes the file that it is at.
func (t *store) compress(stop <-chan struct{}) {
	p := t.packer
	for {
		name, ok := p.next()
		if !ok {
			select {
			case <-p.more:
				continue
			case <-stop:
				return
			}
		}
		gain, err := p.pack(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			// It stays as it is, and counts as an archive.
			p.s.own.Logf(Warn, "compress %s: %v", name, err)
		}
		p.mu.Lock()
		p.gain += gain
		p.mu.Unlock()
		select {
		case <-stop:
			return
		default:
		}
	}
}

// pack replaces name by name.gz. There is no moment at which neither is whole.
func (p *packer) pack(name string) (gain int64, err error) {
	in, err := p.s.root.Open(name)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	tmp := path.Join(path.Dir(name), "."+path.Base(name)+".gz.tmp")
	out, err := p.s.root.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return 0, errors.Join(err, out.Close())
	}
	read, err := io.Copy(z, in)
	err = errors.Join(err, z.Close(), out.Sync())
	info, statErr := out.Stat()
	err = errors.Join(err, statErr, out.Close())
	if err == nil {
		err = p.s.root.Rename(tmp, name+".gz")
	}
	if err != nil {
		return 0, errors.Join(err, p.s.root.Remove(tmp))
	}
	err = p.s.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		// It was deleted as too old meanwhile: so it shall be.
		return 0, p.s.root.Remove(name + ".gz")
	}
	return info.Size() - read, err
}
