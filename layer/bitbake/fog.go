package bitbake

import (
	"path"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// maxCandidates bounds how many files an unknown name may stand for before
// nothing is taken for certain any more.
const maxCandidates = 200

// unknownFile deals with an include or inherit whose name is known in part:
// the variables that any of the files touches which it could mean become
// unknown. If it could mean anything, everything does.
func (d *Datastore) unknownFile(pos diag.Position, verb string, names []string, dir string, why *unknown) {
	plain := text{names[0], why}.plain()
	d.blind(pos, "it is not known which file %q is: %s", verb+" "+plain, why.why)
	mark := &unknown{"it may be set by the file of \"" + verb + " " + plain + "\" at " + pos.String() + ", which is not known: " + why.why}
	bbpath, _ := d.get("BBPATH")
	m := &marker{d: d, mark: mark, seen: map[string]bool{}}
	for _, name := range names {
		pattern := hiddenPattern(name)
		if strings.Trim(path.Base(strings.TrimSuffix(pattern, extension(pattern))), "*") == "" && path.Dir(pattern) == "." {
			d.fog = merge(d.fog, mark)
			return
		}
		for folder := range strings.SplitSeq(dir+":"+bbpath.s, ":") {
			if !strings.HasPrefix(folder, "/") && !strings.HasPrefix(pattern, "/") {
				continue
			}
			for _, f := range d.loader.glob(joinPath(folder, pattern)) {
				m.file(f)
			}
		}
	}
	if len(m.seen) > maxCandidates {
		d.fog = merge(d.fog, mark)
	}
	d.forget()
}

// hiddenPattern puts a wildcard in place of each unknown piece.
func hiddenPattern(name string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(name, 0)
		if i < 0 {
			return b.String() + name
		}
		b.WriteString(name[:i] + "*")
		end := strings.IndexByte(name[i:], 1)
		if end < 0 {
			return b.String()
		}
		name = name[i+end+1:]
	}
}

// marker makes unknown what a file touches, and what the files touch that it
// includes.
type marker struct {
	d    *Datastore
	mark *unknown
	seen map[string]bool
}

func (m *marker) file(name string) {
	if m.seen[name] || len(m.seen) > maxCandidates {
		return
	}
	m.seen[name] = true
	f, err := m.d.loader.Parse(name)
	if err != nil {
		return // a folder, or a file that went away: nothing to include
	}
	for _, s := range f.Stmts {
		switch s := s.(type) {
		case *Assign:
			m.name(s.Name)
		case *Unset:
			m.name(s.Name)
		case *Function:
			m.name(s.Name)
		case *Def:
			m.name(s.Name)
		case *Include:
			m.include(s.Files, path.Dir(name))
		case *Inherit:
			for _, class := range strings.Fields(s.Classes) {
				for _, dir := range []string{"classes-global", "classes-recipe", "classes"} {
					m.include(dir+"/"+class+".bbclass", "")
				}
			}
		}
	}
}

// name marks a variable. One with override words becomes a candidate, which
// counts where they are active.
func (m *marker) name(name string) {
	if base, _, _, ok := splitKeyword(name); ok {
		name = base
	}
	if name == "" {
		return
	}
	m.d.own(name).mark = m.mark
	if strings.Contains(name, ":") {
		m.d.addOverride(name)
	}
}

func (m *marker) include(files, dir string) {
	t, err := m.d.expand(text{s: files}, "", nil)
	if err != nil {
		return
	}
	bbpath, _ := m.d.get("BBPATH")
	for _, f := range strings.Fields(t.s) {
		if name := m.d.loader.which(dir+":"+bbpath.s, f); name != "" {
			m.file(name)
		}
	}
}
