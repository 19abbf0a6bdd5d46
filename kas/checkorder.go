package kas

import (
	"regexp"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// assignment is a hard assignment in a block of local.conf.
type assignment struct {
	name, value string
	pos         diag.Position
}

var assignLine = regexp.MustCompile(`^([A-Za-z0-9_:${}./+~-]+?)\s*(:?=)\s*(["'].*)$`)

// assignments lists the assignments of a block that replace a value whatever
// it was: "=" and ":=".
func assignments(v *Value) []assignment {
	var out []assignment
	for i, line := range strings.Split(v.Text, "\n") {
		m := assignLine.FindStringSubmatch(line)
		// Of "A .=" and its like, the name would end in the operator.
		if m == nil || strings.ContainsAny(m[1][len(m[1])-1:], ".+:?") {
			continue
		}
		if slices.ContainsFunc([]string{":append", ":prepend", ":remove"}, func(op string) bool { return strings.Contains(m[1]+":", op+":") }) {
			continue
		}
		a := assignment{name: m[1], value: m[3], pos: diag.Position{File: v.Pos.File, Line: v.Pos.Line}}
		if v.block {
			a.pos.Line += 1 + i
		}
		out = append(out, a)
	}
	return out
}

// blocks finds settings that a file makes to change an earlier file's, and
// that lose: local.conf is written in the order of ids, not of files.
func (k *checker) blocks() {
	blocks, err := k.c.Blocks("local_conf_header")
	if err != nil {
		return // LocalConf says so
	}
	turn := map[string]int{} // when a file is merged last
	for i, use := range k.c.Files {
		turn[use.Name] = i
	}
	type setting struct {
		assignment
		id string
	}
	winner := map[string]setting{}
	for _, b := range slices.Backward(blocks) {
		as := assignments(b.Entry.Value)
		for _, a := range slices.Backward(as) {
			won, ok := winner[a.name]
			if !ok {
				winner[a.name] = setting{a, b.ID}
				continue
			}
			if won.id == b.ID || won.value == a.value || turn[a.pos.File] <= turn[won.pos.File] {
				continue
			}
			d := k.add(diag.Warning, RuleOrder, a.pos, "choose an id that sorts behind "+won.id,
				"%s is set in the block %s of a later file and loses: %s, of an earlier file, is written behind it, as ids decide the order", a.name, b.ID, won.id)
			d.Related = []diag.Related{{Pos: won.pos, Message: "wins"}}
		}
	}
}

// since lists what came with which version of the format
// (docs/format-changelog.rst of kas). "*" stands for any key.
var since = []struct {
	version int
	path    []string
	null    bool // only null came then
}{
	{3, []string{"task"}, false},
	{6, []string{"env"}, false},
	{7, []string{"repos", "*", "type"}, false},
	{8, []string{"repos", "*", "patches"}, false},
	{9, []string{"defaults"}, false},
	{10, []string{"build_system"}, false},
	{12, []string{"repos", "*", "url"}, true},
	{12, []string{"repos", "*", "path"}, true},
	{13, []string{"env", "*"}, true},
	{14, []string{"repos", "*", "commit"}, false},
	{14, []string{"repos", "*", "branch"}, false},
	{14, []string{"defaults", "repos", "branch"}, false},
	{14, []string{"overrides"}, false},
	{14, []string{"_source_dir"}, false},
	{15, []string{"repos", "*", "tag"}, false},
	{16, []string{"defaults", "repos", "tag"}, false},
	{17, []string{"artifacts"}, false},
	{18, []string{"repos", "*", "tag"}, true},
	{18, []string{"repos", "*", "branch"}, true},
	{19, []string{"signers"}, false},
	{19, []string{"repos", "*", "signed"}, false},
	{20, []string{"overrides", "repos", "*", "branch"}, false},
	{21, []string{"repos", "*", "layers", "*", "prio"}, false},
	{23, []string{"overrides", "repos", "*", "url"}, false},
	{23, []string{"overrides", "repos", "*", "commit"}, true},
}

// newer finds keys that are newer than the file's header.version: this kas
// takes them, and one that is as old as the file says does not.
func (k *checker) newer(use Use) {
	have, err := version(use.config, k.c.Dialect())
	if err != nil {
		return
	}
	for _, s := range since {
		if s.version <= have {
			continue
		}
		for _, e := range use.config.match(s.path) {
			if s.null && e.Value.Kind != Null {
				continue
			}
			what := strings.Join(s.path, ".")
			if s.null {
				what = "null in " + what
			}
			k.add(diag.Warning, RuleNewer, e.Key.Pos, "", "%s came with version %d of the format, and header.version is %d", what, s.version, have)
		}
	}
}

// match returns the entries that a path with "*" leads to.
func (v *Value) match(path []string) []*Entry {
	var out []*Entry
	for _, e := range v.Entries() {
		if path[0] != "*" && keyText(e.Key) != path[0] {
			continue
		}
		if len(path) == 1 {
			out = append(out, e)
			continue
		}
		out = append(out, e.Value.match(path[1:])...)
	}
	return out
}
