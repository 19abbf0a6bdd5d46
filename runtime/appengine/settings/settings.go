package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Why a value was not set.
var (
	ErrUnknown    = errors.New("no such setting")
	ErrNotAllowed = errors.New("this setting cannot be set there")
	ErrValue      = errors.New("this is not a value for the setting")
)

// value is what a setting holds now.
type value struct {
	num    int
	text   string
	set    bool // a text that is not null
	origin Origin
}

// entry is a setting with its value, and the value that comes back when the
// user metadata no longer overrides it.
type entry struct {
	*row
	value
	below *value
}

// Table is the configuration. The zero value is not usable; New makes one. Its
// methods may be called from several goroutines.
type Table struct {
	mu      sync.Mutex // guards what follows
	entries []entry
	byName  map[string]int // upper case keys and exact aliases
}

// New makes a table with the defaults of the real program.
func New() *Table {
	t := &Table{entries: make([]entry, len(rows)), byName: make(map[string]int, 2*len(rows))}
	for i := range rows {
		r := &rows[i]
		t.entries[i] = entry{row: r, value: value{num: r.defNum, text: r.defText, set: r.defSet}}
		t.byName[string(r.key)] = i
		if r.alias != "" {
			t.byName[r.alias] = i
		}
	}
	for alias, key := range otherAliases {
		t.byName[alias] = t.byName[string(key)]
	}
	return t
}

// Known says whether there is a setting of this name, which may be an alias.
func Known(name string) bool {
	_, ok := New().find(name)
	return ok
}

// find looks a setting up by its key in any case, or by an alias.
func (t *Table) find(name string) (*entry, bool) {
	i, ok := t.byName[strings.ToUpper(name)]
	if !ok {
		i, ok = t.byName[name]
	}
	if !ok {
		return nil, false
	}
	return &t.entries[i], true
}

// Set gives a setting a value. Where a higher origin has set it already, the
// value stays and the error is nil, as in the real program.
func (t *Table) Set(name, text string, from Origin) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.find(name)
	if !ok {
		return fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	if from != Args && from != PHClient && e.allowed&from == 0 {
		return fmt.Errorf("%s in %s: %w", e.key, from, ErrNotAllowed)
	}
	if from < e.origin {
		return nil
	}
	v := value{text: text, set: true, origin: from}
	if e.kind != kindText {
		n, err := e.kind.parse(text)
		if err != nil {
			return fmt.Errorf("%s in %s: %w: %w", e.key, from, ErrValue, err)
		}
		v = value{num: n, origin: from}
	}
	if from == Metadata && e.below == nil {
		below := e.value
		e.below = &below
	}
	e.value = v
	return nil
}

// Override sets a value from the user metadata of the device. A key that is no
// setting is ErrUnknown, and nothing wrong: most metadata is something else.
func (t *Table) Override(name, text string) error { return t.Set(name, text, Metadata) }

// Restore gives a setting back the value that it had before Override. It does
// nothing for any other.
func (t *Table) Restore(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.find(name); ok && e.below != nil {
		e.value, e.below = *e.below, nil
	}
}

// Int is the value of a number, a duration in seconds or an enumeration.
func (t *Table) Int(k Key) int { return t.get(k).num }

// Bool is the value of a truth value.
func (t *Table) Bool(k Key) bool { return t.get(k).num != 0 }

// Text is the value of a text; a null one is empty.
func (t *Table) Text(k Key) string { return t.get(k).text }

// Word is the value as GET /config2 shows it.
func (t *Table) Word(k Key) string {
	e := t.get(k)
	return e.kind.format(e.value)
}

// Origin says who set the value.
func (t *Table) Origin(k Key) Origin { return t.get(k).origin }

func (t *Table) get(k Key) entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := t.byName[string(k)]
	if !ok {
		return entry{row: &row{key: k}}
	}
	return t.entries[i]
}

// List is the document of GET /config2. Secrets are shown, as upstream does:
// the endpoint is for callers with the role mgmt.
func (t *Table) List() []pvctrl.Setting {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]pvctrl.Setting, len(t.entries))
	for i, e := range t.entries {
		list[i] = pvctrl.Setting{Key: string(e.key), Value: e.kind.format(e.value), Modified: e.origin.String()}
	}
	return list
}

// Aliases lists the members of GET /config: the settings that have a dotted
// alias, in the order of the table, with numbers for enumerations and nil for
// texts that are not set.
func (t *Table) Aliases() []pvctrl.Alias {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []pvctrl.Alias
	for _, e := range t.entries {
		a := pvctrl.Alias{Name: e.alias}
		switch {
		case e.alias == "":
			continue
		case e.kind == kindText && !e.set:
		case e.kind == kindText:
			a.Value = e.text
		case e.kind == kindBool:
			a.Value = e.num != 0
		default:
			a.Value = e.num
		}
		list = append(list, a)
	}
	return list
}

// Flat is the document of GET /config.
func (t *Table) Flat() json.RawMessage {
	b := []byte{'{'}
	for i, a := range t.Aliases() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendJSON(b, a.Name), ':')
		b = appendJSON(b, a.Value)
	}
	return append(b, '}')
}

// appendJSON writes a value of a setting without the escapes for HTML.
func appendJSON(b []byte, v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // texts, numbers and truth values always encode
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// Public lists the settings for a log: the words of the program, with the
// secrets that were set as XXXX.
func (t *Table) Public() []pvctrl.Setting {
	list := t.List()
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, e := range t.entries {
		if e.secret && e.origin != Default {
			list[i].Value = "XXXX"
		}
	}
	return list
}
