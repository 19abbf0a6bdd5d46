package logs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// indexFile is below the revision's folder. Neither the containers' files nor
// pantavisor.log say by themselves when a line was written; this does. A line
// of it is "<milliseconds since 1970> <n> <offset> <file>": what follows the
// offset in the n-th part of the file was written then or later. The part that
// is written to has the number that it will get when it is rotated.
const indexFile = ".times"

const (
	markEvery = 20 * time.Millisecond
	maxIndex  = 4 << 20 // at which the older half goes
)

// mark is a line of the index.
type mark struct {
	at     time.Time
	file   string
	n      int
	offset int64
}

func (m mark) append(b []byte) []byte {
	b = strconv.AppendInt(b, m.at.UnixMilli(), 10)
	b = strconv.AppendInt(append(b, ' '), int64(m.n), 10)
	b = strconv.AppendInt(append(b, ' '), m.offset, 10)
	return append(append(append(b, ' '), m.file...), '\n')
}

func parseMark(text string) (mark, bool) {
	f := strings.SplitN(text, " ", 4)
	if len(f) != 4 || !fs.ValidPath(f[3]) {
		return mark{}, false
	}
	ms, err1 := strconv.ParseInt(f[0], 10, 64)
	n, err2 := strconv.Atoi(f[1])
	offset, err3 := strconv.ParseInt(f[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || n < 1 || offset < 0 {
		return mark{}, false
	}
	return mark{at: time.UnixMilli(ms), n: n, offset: offset, file: f[3]}, true
}

// index writes the marks of one revision at a time. It is a help for readers:
// what fails is left out.
type index struct {
	root *os.Root
	rev  string
	f    *os.File
	size int64
}

func newIndex(root *os.Root) *index { return &index{root: root} }

func (x *index) mark(rev string, m mark) {
	if rev != x.rev || x.f == nil {
		x.close()
		f, err := x.root.OpenFile(path.Join(rev, indexFile), openFlags, 0o644)
		if err != nil {
			return
		}
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			_ = f.Close()
			return
		}
		x.f, x.rev, x.size = f, rev, info.Size()
	}
	n, err := x.f.Write(m.append(nil))
	x.size += int64(n)
	if err != nil {
		// A torn line is one that readers leave out, if it ends.
		_, _ = x.f.WriteString("\n")
	}
	if x.size > maxIndex {
		x.halve()
	}
}

// halve drops the older half of the marks.
func (x *index) halve() {
	name, tmp := path.Join(x.rev, indexFile), path.Join(x.rev, indexFile+".tmp")
	x.close()
	data, err := readFile(x.root, name, 2*maxIndex)
	if err != nil {
		return
	}
	data = data[len(data)/2:]
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		data = data[i+1:]
	}
	f, err := x.root.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = x.root.Rename(tmp, name)
	}
	if err != nil {
		_ = x.root.Remove(tmp)
	}
}

func (x *index) close() {
	if x.f != nil {
		_ = x.f.Close()
		x.f = nil
	}
}

// readFile reads at most limit bytes of a file.
func readFile(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(bufio.NewReader(f), limit))
	return data, errors.Join(err, f.Close())
}
