package kas

import (
	"fmt"
	"strings"
)

// Format is an output format of the dump.
type Format uint8

// The formats.
const (
	YAML Format = iota
	JSON
)

// lockVersion is the header.version of lock files.
const lockVersion = "14"

// DumpOptions are those of `kas dump`.
type DumpOptions struct {
	Format Format
	Indent int  // 0 is the dialect's default
	Sort   bool // --sort
	// ResolveEnv is --resolve-env.
	ResolveEnv bool
	// Commits gives the commit of repositories by id, as --resolve-refs
	// finds them; nil leaves the references as they are. With Lock, they are
	// what the lock file pins.
	Commits map[string]string
	Lock    bool // --lock
	// Local, for --resolve-local, is the url and commit of repositories that
	// kas does not manage.
	Local map[string]LocalRef
}

// LocalRef says where a repository without url comes from.
type LocalRef struct {
	URL    string // "" is written as null
	Commit string
}

// Dump is what `kas dump` prints, byte for byte (plugins/dump.py).
func (c *Config) Dump(o DumpOptions) (string, error) {
	root := c.Root.with("header", c.Root.Get("header").without("includes"))
	root.merged = c.Root.merged
	if o.Lock {
		root = lockTree(o.Commits, c)
	} else if o.Commits != nil {
		var err error
		if root, err = c.withCommits(root, o.Commits); err != nil {
			return "", err
		}
	}
	if len(o.Local) > 0 {
		root = withLocal(root, o.Local)
	}
	if o.ResolveEnv && root.Has("env") {
		env := &Value{Kind: Map}
		for _, v := range c.Environment() {
			value := &Value{Kind: Null}
			if v.Set {
				value = NewString(v.Value)
			}
			env.put(&Entry{Key: NewString(v.Name), Value: value})
		}
		root = root.with("env", env)
	}
	return c.r.o.Dialect.render(root, o)
}

// render writes a tree in the dialect's style: kas 5 keeps the order of keys,
// the fork sorts mappings that no merge made.
func (d Dialect) render(root *Value, o DumpOptions) (string, error) {
	if o.Indent == 0 {
		o.Indent = d.Indent()
	}
	if o.Format == JSON {
		w := jsonWriter{indent: o.Indent, sort: o.Sort}
		if err := w.value(root, 0); err != nil {
			return "", err
		}
		w.out.WriteByte('\n')
		return w.out.String(), nil
	}
	r := representer{sortAll: o.Sort, sortPlain: d == Pantacor}
	return r.emit(root, o.Indent), nil
}

// withCommits sets the commit of each managed repository. kas 5 drops the
// overrides then, as they have no more to say.
func (c *Config) withCommits(root *Value, commits map[string]string) (*Value, error) {
	repos, err := c.Repos()
	if err != nil {
		return nil, err
	}
	all := root.Get("repos")
	for _, r := range repos {
		commit, ok := commits[r.ID]
		if !r.Managed() || !ok {
			continue
		}
		key := "commit"
		if r.Commit == "" && r.Branch == "" && r.Tag == "" {
			key = "refspec"
		}
		all = all.with(r.ID, all.Get(r.ID).with(key, NewString(commit)))
	}
	if all != nil {
		root = root.with("repos", all)
	}
	if c.r.o.Dialect == Stock {
		root = root.without("overrides")
	}
	return root, nil
}

func withLocal(root *Value, local map[string]LocalRef) *Value {
	all := root.Get("repos")
	for _, e := range root.Get("repos").Entries() {
		ref, ok := local[e.Key.Text]
		if !ok {
			continue
		}
		repo := e.Value
		if repo.Kind == Null {
			repo = &Value{Kind: Map}
		}
		url := &Value{Kind: Null}
		if ref.URL != "" {
			url = NewString(ref.URL)
		}
		all = all.with(e.Key.Text, repo.with("url", url).with("commit", NewString(ref.Commit)))
	}
	return root.with("repos", all)
}

// lockTree is a lock file with all given commits, in the order of the
// configuration.
func lockTree(commits map[string]string, c *Config) *Value {
	repos := &Value{Kind: Map}
	for _, e := range c.Root.Get("repos").Entries() {
		if commit, ok := commits[e.Key.Text]; ok {
			repos.put(&Entry{Key: e.Key, Value: NewMap(NewString("commit"), NewString(commit))})
		}
	}
	return NewMap(
		NewString("header"), NewMap(NewString("version"), &Value{Kind: Int, Text: lockVersion}),
		NewString("overrides"), NewMap(NewString("repos"), repos))
}

// jsonWriter writes as Python's json.dump does.
type jsonWriter struct {
	out    strings.Builder
	indent int
	sort   bool
}

// maxJSON bounds a dump: JSON has no aliases, so shared values are written
// out each time.
const maxJSON = 64 << 20

func (w *jsonWriter) value(v *Value, depth int) error {
	if w.out.Len() > maxJSON {
		return fmt.Errorf("the JSON grows over %d bytes", maxJSON)
	}
	switch v.Kind {
	case Null:
		w.out.WriteString("null")
	case String:
		w.str(v.Text)
	case Float:
		w.out.WriteString(jsonFloat(v.Text))
	case Bool, Int:
		w.out.WriteString(v.Text)
	case Timestamp:
		return fmt.Errorf("%s: a date cannot be written as JSON", v.Pos)
	case List:
		return w.list(v, depth)
	case Map:
		return w.mapping(v, depth)
	}
	return nil
}

func (w *jsonWriter) newline(depth int) {
	w.out.WriteByte('\n')
	for range depth * w.indent {
		w.out.WriteByte(' ')
	}
}

func (w *jsonWriter) list(v *Value, depth int) error {
	if len(v.Items) == 0 {
		w.out.WriteString("[]")
		return nil
	}
	w.out.WriteByte('[')
	for i, item := range v.Items {
		if i > 0 {
			w.out.WriteByte(',')
		}
		w.newline(depth + 1)
		if err := w.value(item, depth+1); err != nil {
			return err
		}
	}
	w.newline(depth)
	w.out.WriteByte(']')
	return nil
}

func (w *jsonWriter) mapping(v *Value, depth int) error {
	if len(v.entries) == 0 {
		w.out.WriteString("{}")
		return nil
	}
	entries := v.entries
	if w.sort {
		entries = sortedEntries(entries)
	}
	w.out.WriteByte('{')
	for i, e := range entries {
		if i > 0 {
			w.out.WriteByte(',')
		}
		w.newline(depth + 1)
		switch e.Key.Kind {
		case Null:
			w.str("null")
		case Float:
			w.str(jsonFloat(e.Key.Text))
		case Timestamp:
			return fmt.Errorf("%s: a date cannot be a key in JSON", e.Key.Pos)
		default:
			w.str(e.Key.Text)
		}
		w.out.WriteString(": ")
		if err := w.value(e.Value, depth+1); err != nil {
			return err
		}
	}
	w.newline(depth)
	w.out.WriteByte('}')
	return nil
}

func jsonFloat(text string) string {
	switch text {
	case "nan":
		return "NaN"
	case "inf":
		return "Infinity"
	case "-inf":
		return "-Infinity"
	}
	return text
}

// str writes a string in ASCII.
func (w *jsonWriter) str(s string) {
	w.out.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			w.out.WriteByte('\\')
			w.out.WriteRune(c)
		case c == '\n':
			w.out.WriteString(`\n`)
		case c == '\r':
			w.out.WriteString(`\r`)
		case c == '\t':
			w.out.WriteString(`\t`)
		case c == '\b':
			w.out.WriteString(`\b`)
		case c == '\f':
			w.out.WriteString(`\f`)
		case c >= 0x20 && c <= 0x7e:
			w.out.WriteRune(c)
		case c > 0xffff:
			c -= 0x10000
			fmt.Fprintf(&w.out, `\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		default:
			fmt.Fprintf(&w.out, `\u%04x`, c)
		}
	}
	w.out.WriteByte('"')
}
