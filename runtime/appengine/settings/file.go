package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxFile bounds a configuration file; the real ones have a kilobyte.
const maxFile = 1 << 20

// Problem is something in a source that was not taken. It never stops the
// program: the value that was there stays.
type Problem struct {
	File string // or "command line", "environment"
	Line int    // 0 where there are no lines
	Err  error
}

// Error says where and what.
func (p Problem) Error() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %v", p.File, p.Err)
	}
	return fmt.Sprintf("%s:%d: %v", p.File, p.Line, p.Err)
}

// Unwrap gives the reason.
func (p Problem) Unwrap() error { return p.Err }

// ErrLegacy marks a dotted key. It is read; the PV_ or PH_ key is the name to
// write.
var ErrLegacy = errors.New("this is the old name of a setting")

// ErrSysctl marks a PV_SYSCTL_ key. It is left alone: the kernel belongs to
// the machine that the appengine runs on.
var ErrSysctl = errors.New("kernel parameters are left to the machine")

// item is a line of a source.
type item struct {
	key, text string
	line      int
}

// parse reads KEY=value lines. There is no quoting and no comment but a line
// that begins with #; white space around the value is part of it, as in the
// real program, except for the line's own end. A key that comes twice has the
// place of the first and the value of the last.
func parse(name string, data []byte) ([]item, []Problem) {
	var items []item
	var problems []Problem
	at := map[string]int{}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
		if strings.TrimSpace(text) == "" || text[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		switch {
		case !ok || key == "":
			problems = append(problems, Problem{name, n, fmt.Errorf("%q is not KEY=value", clip(text))})
			continue
		case strings.ContainsRune(text, 0):
			problems = append(problems, Problem{name, n, errors.New("there is a zero byte in the line")})
			continue
		}
		if i, again := at[strings.ToUpper(key)]; again {
			items[i].text, items[i].line = value, n
			continue
		}
		at[strings.ToUpper(key)] = len(items)
		items = append(items, item{key, value, n})
	}
	return items, problems
}

// clip keeps a message short.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// Read sets what a file says. The error means that it could not be read; what
// it says wrong is among the problems.
func (t *Table) Read(name string, r io.Reader, from Origin) ([]Problem, error) {
	data, err := readAll(name, r)
	if err != nil {
		return nil, err
	}
	items, problems := parse(name, data)
	return append(problems, t.apply(name, items, from)...), nil
}

func readAll(name string, r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read settings %s: %w", name, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read settings %s: more than %d bytes", name, maxFile)
	}
	return data, nil
}

func (t *Table) apply(name string, items []item, from Origin) []Problem {
	var problems []Problem
	for _, it := range items {
		add := func(err error) { problems = append(problems, Problem{name, it.line, err}) }
		if sysctl(it.key) {
			add(fmt.Errorf("%s: %w", it.key, ErrSysctl))
			continue
		}
		if err := t.Set(it.key, it.text, from); err != nil {
			add(err)
			continue
		}
		if e, ok := t.find(it.key); ok && !strings.EqualFold(it.key, string(e.key)) {
			add(fmt.Errorf("%s: %w: write %s", it.key, ErrLegacy, e.key))
		}
	}
	return problems
}

func sysctl(key string) bool {
	return len(key) > len("sysctl") && strings.HasPrefix(key, "sysctl") ||
		len(key) > len("PV_SYSCTL_") && strings.EqualFold(key[:len("PV_SYSCTL_")], "PV_SYSCTL_")
}

// cmdline reads the words of a kernel command line that begin with prefix:
// "pv_log.level=5" is log.level for the prefix "pv_". The words that the boot
// loader's state uses (pv_rev, pv_try) are no settings.
func cmdline(text, prefix string) []item {
	var items []item
	for word := range strings.FieldsSeq(text) {
		rest, ok := strings.CutPrefix(word, prefix)
		if !ok {
			continue
		}
		key, value, _ := strings.Cut(rest, "=")
		if key == "" || key == "rev" || key == "try" {
			continue
		}
		items = append(items, item{key: key, text: value})
	}
	return items
}

// environ reads the variables whose names begin with PV_ or PH_ and that are
// settings or look like kernel parameters; tools share the prefix.
func (t *Table) environ(vars []string) []item {
	var items []item
	for _, v := range vars {
		key, value, _ := strings.Cut(v, "=")
		upper := strings.ToUpper(key)
		if !strings.HasPrefix(upper, "PV_") && !strings.HasPrefix(upper, "PH_") {
			continue
		}
		if _, ok := t.find(key); ok || sysctl(key) {
			items = append(items, item{key: key, text: value})
		}
	}
	return items
}
