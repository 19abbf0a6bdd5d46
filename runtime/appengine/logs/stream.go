package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
)

// stream reads the lines of one log through all its parts.
type stream struct {
	root  *os.Root
	rev   string
	name  string // below the revision
	marks *marks
	since time.Time // parts that end before are passed over
	all   bool      // an unfinished line is one

	part   part
	open   *os.File
	text   io.Reader // what open decompresses to
	live   bool      // open is, or was when it was opened, the last part
	mtime  time.Time
	offset int64 // of text's next byte
	done   int   // the last part that was read to its end

	buf   []byte // read and not used: the bytes before offset
	waits int    // rounds that an unfinished line has waited

	line []byte
	at   time.Time
}

func newStream(root *os.Root, rev, name string, m *marks, since time.Time) *stream {
	return &stream{root: root, rev: rev, name: name, marks: m, since: since}
}

func (s *stream) close() {
	if s.open != nil {
		_ = s.open.Close()
		s.open = nil
	}
}

// next makes the next line the current one. It reports false where there is
// none yet.
func (s *stream) next(all bool) bool {
	for {
		if i := bytes.IndexByte(s.buf, '\n'); i >= 0 && i <= 4*maxLine {
			s.use(i, i+1)
			return true
		}
		if len(s.buf) > 4*maxLine {
			s.use(4*maxLine, 4*maxLine)
			return true
		}
		if s.fill() {
			s.waits = 0
			continue
		}
		if len(s.buf) == 0 {
			return false
		}
		// A prompt has no end; it is shown when nothing has followed for a while.
		if s.waits++; !all && s.waits < 5 {
			return false
		}
		s.use(len(s.buf), len(s.buf))
		return true
	}
}

// use takes a line of n bytes off the buffer, and its end.
func (s *stream) use(n, end int) {
	s.line = append(s.line[:0], s.buf[:n]...)
	at, ok := s.marks.time(s.part, s.offset-int64(len(s.buf)))
	if !ok {
		at = s.mtime
	}
	s.at = at
	s.buf = s.buf[:copy(s.buf, s.buf[end:])]
	s.waits = 0
}

// fill reads more. It reports false at the end of what is there.
func (s *stream) fill() bool {
	for {
		if s.open == nil && !s.openNext() {
			return false
		}
		more := make([]byte, 32<<10)
		n, err := s.text.Read(more)
		s.offset += int64(n)
		if n > 0 {
			s.buf = append(s.buf, more[:n]...)
			return true
		}
		if err == nil {
			continue
		}
		if s.live && s.stillLive() {
			return false
		}
		if s.live {
			// It was rotated or removed; what came meanwhile is read first.
			s.live = false
			continue
		}
		s.done = s.part.n
		s.close()
	}
}

// stillLive says whether the open file is the one that is written to.
func (s *stream) stillLive() bool {
	mine, err := s.open.Stat()
	if err != nil {
		return false
	}
	now, err := s.root.Lstat(path.Join(s.rev, s.name))
	return err == nil && os.SameFile(mine, now)
}

// openNext opens the part after the last that was read.
func (s *stream) openNext() bool {
	name := path.Join(s.rev, s.name)
	for tries := 0; tries < 10; tries++ { // a rotation may come between the look and the open
		found, err := archives(s.root.FS(), path.Dir(name), path.Base(name))
		if err != nil {
			return false
		}
		next, last := following(found, s.done)
		if next == nil {
			if s.openPart(name, max(last+1, s.marks.newest[s.name]), false) != nil {
				return false
			}
			s.live = true
			if s.stillLive() {
				return true
			}
			s.close()
			continue
		}
		err = s.openPart(next.name(), next.n, next.gz)
		switch {
		case err == nil && !s.mtime.Before(s.since):
			return true
		case err == nil, next.gz: // too old, or damaged
			s.close()
			s.done = next.n
			tries = 0
		}
	}
	return false
}

// following finds the archive after the n-th part, nil for none, and the
// number of the last one.
func following(found []archive, n int) (next *archive, last int) {
	for i, a := range found {
		last = max(last, a.n)
		// A part that is just being compressed is there twice.
		if a.n > n && (next == nil || a.n < next.n || a.n == next.n && !a.gz) {
			next = &found[i]
		}
	}
	return next, last
}

func (s *stream) openPart(name string, n int, gz bool) error {
	f, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.text = f
	if gz {
		if s.text, err = gzip.NewReader(f); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	s.open, s.live, s.mtime, s.offset = f, false, info.ModTime(), 0
	s.part = part{s.name, n}
	return nil
}

// entry is the current line, taken apart.
func (s *stream) entry() Entry {
	text := string(bytes.TrimRight(s.line, "\r"))
	if s.name == singleFile {
		return s.fromJSON(text)
	}
	container, source, _ := strings.Cut(s.name, "/")
	e := Entry{Time: s.at, Revision: s.rev, Container: container, Source: source, Text: text}
	if container == Pantavisor && source == "pantavisor.log" {
		if module, level, rest, ok := parsePV(text); ok {
			e.Source, e.Level, e.Text = module, level, rest
		}
	}
	return e
}

func (s *stream) fromJSON(text string) Entry {
	var doc struct{ Platform, Lvl, Src, Msg string }
	e := Entry{Time: s.at, Revision: s.rev, Container: Pantavisor, Source: singleFile, Text: text}
	if json.Unmarshal([]byte(text), &doc) == nil && doc.Platform != "" {
		e.Container, e.Source, e.Level, e.Text = doc.Platform, doc.Src, doc.Lvl, doc.Msg
	}
	return e
}

// parsePV takes a line of pantavisor.log apart.
func parsePV(text string) (module, level, rest string, ok bool) {
	head, tail, ok := strings.Cut(text, "\t -- [")
	if !ok || !strings.HasPrefix(head, "[") {
		return "", "", "", false
	}
	module, rest, ok = strings.Cut(tail, "]: ")
	return module, head[strings.LastIndexByte(head, ' ')+1:], rest, ok
}
