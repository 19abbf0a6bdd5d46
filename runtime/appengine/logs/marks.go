package logs

import (
	"bufio"
	"errors"
	"io"
	"os"
	"sort"
	"strings"
	"time"
)

// marks are the marks of an index as a reader has them.
type marks struct {
	root *os.Root
	name string
	off  int64
	by   map[part][]stamp
	// newest is the part of a file that was marked last: archives that were
	// deleted leave no other trace of how far the numbers are.
	newest map[string]int
}

// part is a part of a log: its n-th file.
type part struct {
	file string
	n    int
}

type stamp struct {
	offset int64
	at     time.Time
}

func newMarks(root *os.Root, name string) *marks {
	return &marks{root: root, name: name, by: map[part][]stamp{}, newest: map[string]int{}}
}

// load reads what is new. Without an index there are no marks.
func (m *marks) load() {
	f, err := m.root.Open(m.name)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	if info.Size() < m.off {
		// The older half has gone; the marks that we have stay good.
		m.off = 0
	}
	if _, err := f.Seek(m.off, io.SeekStart); err != nil {
		return
	}
	r := bufio.NewReader(io.LimitReader(f, 2*maxIndex))
	for {
		text, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) || err != nil {
			return // an unfinished line is read with the next load
		}
		m.off += int64(len(text))
		if one, ok := parseMark(strings.TrimSuffix(text, "\n")); ok {
			m.add(one)
		}
	}
}

func (m *marks) add(one mark) {
	p := part{one.file, one.n}
	m.newest[one.file] = max(m.newest[one.file], one.n)
	list := m.by[p]
	i := sort.Search(len(list), func(i int) bool { return list[i].offset >= one.offset })
	if i < len(list) && !one.at.After(list[len(list)-1].at) {
		return // read before
	}
	// A smaller offset, later: the file has been removed and made anew.
	m.by[p] = append(list[:i], stamp{one.offset, one.at})
}

// time is when the bytes at an offset were written, as far as it is known.
func (m *marks) time(p part, offset int64) (time.Time, bool) {
	list := m.by[p]
	if len(list) == 0 {
		return time.Time{}, false
	}
	i := sort.Search(len(list), func(i int) bool { return list[i].offset > offset })
	return list[max(i-1, 0)].at, true
}
