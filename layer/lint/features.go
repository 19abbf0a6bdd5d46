package lint

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

// featureVar is what the files say about a variable of feature words.
type featureVar struct {
	name    string
	owned   bool // its default is in the layers at hand
	set     map[string][]featureUse
	tested  map[string][]featureUse
	removed []featureUse
	open    bool   // words come from where they cannot be seen
	opaque  string // it is read in a way that cannot be followed
}

// featureUse is a place where a feature word is set, tested or removed.
type featureUse struct {
	word string
	file *bitbake.File
	span bitbake.Span
	stmt *bitbake.Assign // nil for a test
	// in is the variable or function that a test stands in, gives what the
	// test puts there.
	in, gives string
}

func (u featureUse) pos() diag.Position { return u.file.Position(u.span.Start) }

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func sortedWords(w []string) []string { return slices.Sorted(slices.Values(w)) }

func (s *Settings) knows(variable, word string) bool {
	return slices.Contains(s.Features[variable], word)
}

var (
	testCall = regexp.MustCompile(`\b(?:contains|contains_any|filter)\(\s*(?:'(\w+_FEATURES)'|"(\w+_FEATURES)")\s*,\s*(?:'([^'"]*)'|"([^"']*)"|[\[(]([^\])]*)[\])])`)
	// gives is what stands behind a test: the value when it holds.
	gives    = regexp.MustCompile(`^\s*,\s*(?:'([^']*)'|"([^"]*)")`)
	getVar   = regexp.MustCompile(`getVar\(\s*['"](\w+_FEATURES)['"]`)
	heldIn   = regexp.MustCompile(`(\w+)\s*=[^=\n]*getVar\(\s*['"](\w+_FEATURES)['"]`)
	inTest   = regexp.MustCompile(`['"]([\w.+\-\pL]+)['"]\s+(?:not\s+)?in\s+(\w+)`)
	inGetVar = regexp.MustCompile(`['"]([\w.+\-\pL]+)['"]\s+(?:not\s+)?in\s+[^\n]*?getVar\(\s*['"](\w+_FEATURES)['"]`)
	// featureName is a variable's name on its own.
	featureName = regexp.MustCompile(`\b[A-Z][A-Z0-9_]*_FEATURES\b`)
	plainWord   = regexp.MustCompile(`^[\w.+\-\pL]+$`)
	quoted      = regexp.MustCompile(`'([^']*)'|"([^"]*)"`)
)

// coreFeatures belong to oe-core: layers all over the world set and test them.
var coreFeatures = []string{"COMBINED_FEATURES", "DISTRO_FEATURES", "EXTRA_IMAGE_FEATURES", "IMAGE_FEATURES", "MACHINE_FEATURES", "TUNE_FEATURES", "POPULATE_SDK_FEATURES"}

// requirements are variables whose words are tested by a class of oe-core.
var requirements = regexp.MustCompile(`^(?:REQUIRED|ANY_OF|CONFLICT|UNSUPPORTED)_(\w+_FEATURES)$`)

// featureVars collects, once, what all files say about X_FEATURES.
func (x *index) featureVars() map[string]*featureVar {
	x.featuresOnce.Do(func() {
		x.features = map[string]*featureVar{}
		mine := map[string]bool{}
		for _, f := range x.mine() {
			mine[f.Name] = true
		}
		for _, name := range sortedKeys(x.files) {
			x.scanAssigns(x.files[name], mine[name])
			x.scanTests(x.files[name])
		}
		for _, v := range x.features {
			if slices.Contains(x.foreign, v.name) || slices.Contains(coreFeatures, v.name) {
				v.owned = false
			}
		}
	})
	return x.features
}

func (x *index) feature(name string) *featureVar {
	v := x.features[name]
	if v == nil {
		v = &featureVar{name: name, set: map[string][]featureUse{}, tested: map[string][]featureUse{}}
		x.features[name] = v
	}
	return v
}

func (x *index) scanAssigns(f *bitbake.File, mine bool) {
	for a := range assigns(f) {
		base, words := splitName(a.Name)
		if m := requirements.FindStringSubmatch(base); m != nil {
			for w, span := range valueWords(a) {
				x.feature(m[1]).tested[w] = append(x.feature(m[1]).tested[w], featureUse{word: w, file: f, span: span, in: a.Name})
			}
			continue
		}
		if a.Flag != "" || !strings.HasSuffix(base, "_FEATURES") {
			continue
		}
		v := x.feature(base)
		if isDefault := a.Op == bitbake.OpWeak || a.Op == bitbake.OpDefault || a.Op == bitbake.OpSet && len(words) == 0; isDefault {
			if mine && path.Ext(f.Name) != ".bb" && !isLocal(f.Name) {
				v.owned = true
			} else if !mine {
				x.foreign = append(x.foreign, base)
			}
		}
		removing := keyword(words) == "remove"
		plain, choices := splitPython(a.Value)
		v.open = v.open || !removing && openValue(a.Value, base)
		for _, w := range choices {
			if !removing {
				v.set[w] = append(v.set[w], featureUse{word: w, file: f, span: a.ValueSpan, stmt: a})
			}
		}
		for w, span := range valueWords(a) {
			if !plainWord.MatchString(w) || !slices.Contains(plain, w) {
				continue
			}
			use := featureUse{word: w, file: f, span: span, stmt: a}
			if removing {
				v.removed = append(v.removed, use)
			} else {
				v.set[w] = append(v.set[w], use)
			}
		}
	}
}

// splitPython takes a value apart: the words outside of ${...}, and those that
// inline Python may choose.
func splitPython(value string) (plain, choices []string) {
	var out strings.Builder
	for {
		i := strings.Index(value, "${")
		if i < 0 {
			break
		}
		out.WriteString(value[:i])
		end, depth := i, 0
		for end < len(value) {
			c := value[end]
			end++
			if c == '{' {
				depth++
			} else if c == '}' {
				if depth--; depth == 0 {
					break
				}
			}
		}
		code := testCall.ReplaceAllString(value[i:end], "")
		for _, m := range quoted.FindAllStringSubmatch(code, -1) {
			for w := range strings.FieldsSeq(m[1] + m[2]) {
				if plainWord.MatchString(w) {
					choices = append(choices, w)
				}
			}
		}
		out.WriteByte(' ')
		value = value[end:]
	}
	out.WriteString(value)
	return strings.Fields(out.String()), choices
}

// openValue reports whether a value takes words from elsewhere: from another
// variable, or from Python that is more than a choice of literals.
func openValue(value, self string) bool {
	rest := value
	for {
		i := strings.Index(rest, "${")
		if i < 0 {
			return false
		}
		rest = rest[i+2:]
		if strings.HasPrefix(rest, self+"}") {
			continue
		}
		if !strings.HasPrefix(rest, "@bb.utils.contains(") && !strings.HasPrefix(rest, "@bb.utils.contains_any(") {
			return true
		}
	}
}

func (x *index) scanTests(f *bitbake.File) {
	if !strings.Contains(f.Src, "_FEATURES") {
		return
	}
	test := func(name, w string, at int, value string) {
		if inComment(f.Src, at) || !plainWord.MatchString(w) {
			return
		}
		v := x.feature(name)
		v.tested[w] = append(v.tested[w], featureUse{
			word: w, file: f, span: bitbake.Span{Start: at, End: at + len(w)}, in: enclosing(f, at), gives: strings.TrimSpace(value),
		})
	}
	for _, m := range testCall.FindAllStringSubmatchIndex(f.Src, -1) {
		name := group(f.Src, m, 1) + group(f.Src, m, 2)
		value := ""
		if g := gives.FindStringSubmatch(f.Src[m[1]:]); g != nil {
			value = g[1] + g[2]
		}
		for g := 3; g <= 5; g++ {
			if m[2*g] < 0 {
				continue
			}
			for _, w := range fieldIndex(f.Src[m[2*g]:m[2*g+1]]) {
				test(name, f.Src[m[2*g]+w[0]:m[2*g]+w[1]], m[2*g]+w[0], value)
			}
		}
	}
	followed := map[string]int{}
	held := map[string]string{}
	for _, m := range heldIn.FindAllStringSubmatch(f.Src, -1) {
		held[m[1]] = m[2]
	}
	for _, m := range inTest.FindAllStringSubmatchIndex(f.Src, -1) {
		if name := held[group(f.Src, m, 2)]; name != "" {
			test(name, group(f.Src, m, 1), m[2], "")
			followed[name]++
		}
	}
	for _, m := range inGetVar.FindAllStringSubmatchIndex(f.Src, -1) {
		test(group(f.Src, m, 2), group(f.Src, m, 1), m[2], "")
		followed[group(f.Src, m, 2)]++
	}
	for _, m := range getVar.FindAllStringSubmatchIndex(f.Src, -1) {
		if name := group(f.Src, m, 1); followed[name] == 0 && !inComment(f.Src, m[0]) {
			x.feature(name).opaque = x.p.place(f.Position(m[0]))
		}
	}
	x.scanMentions(f)
}

// enclosing names the statement that a place is in.
func enclosing(f *bitbake.File, at int) string {
	for _, s := range f.Stmts {
		if n := bitbake.NodeOf(s); at < n.Span.Start || at >= n.Span.End {
			continue
		}
		switch s := s.(type) {
		case *bitbake.Assign:
			if s.Flag != "" {
				return s.Name + "[" + s.Flag + "]"
			}
			return s.Name
		case *bitbake.Function:
			if s.Name == "" {
				return "anonymous Python"
			}
			return s.Name + "()"
		case *bitbake.Def:
			return s.Name + "()"
		case *bitbake.Inherit:
			return "inherit"
		case *bitbake.Include:
			return "include"
		}
	}
	return ""
}

// scanMentions notes where a variable is read in a way that is none of those
// that scanTests knows: handed to a function by name, or expanded as a whole.
func (x *index) scanMentions(f *bitbake.File) {
	var known [][2]int
	for _, re := range []*regexp.Regexp{testCall, getVar} {
		for _, m := range re.FindAllStringIndex(f.Src, -1) {
			known = append(known, [2]int{m[0], m[1]})
		}
	}
	for a := range assigns(f) {
		if a.Flag != "" { // such as vardeps
			known = append(known, [2]int{a.ValueSpan.Start, a.ValueSpan.End})
		}
	}
	for _, m := range featureName.FindAllStringIndex(f.Src, -1) {
		name := f.Src[m[0]:m[1]]
		if !readWhole(f.Src, m[0], m[1]) || inComment(f.Src, m[0]) || x.inOwnValue(f, name, m[0]) ||
			slices.ContainsFunc(known, func(k [2]int) bool { return m[0] >= k[0] && m[1] <= k[1] }) {
			continue
		}
		x.feature(name).opaque = x.p.place(f.Position(m[0]))
	}
}

// readWhole reports whether a name is expanded, or stands in a quoted list of
// names; in a sentence that is printed it does not matter.
func readWhole(src string, from, to int) bool {
	if strings.HasSuffix(src[:from], "${") && strings.HasPrefix(src[to:], "}") {
		return true
	}
	begin := strings.LastIndexAny(src[:from], "'\"\n")
	end := strings.IndexAny(src[to:], "'\"\n")
	return begin >= 0 && end >= 0 && src[begin] != '\n' && src[begin] == src[to+end] && nameList.MatchString(src[begin+1:to+end])
}

var nameList = regexp.MustCompile(`^[A-Z0-9_ ]+$`)

// inOwnValue reports whether a place is in a value of the variable itself.
func (x *index) inOwnValue(f *bitbake.File, name string, at int) bool {
	for a := range assigns(f) {
		if base, _ := splitName(a.Name); base == name && at >= a.ValueSpan.Start && at < a.ValueSpan.End {
			return true
		}
	}
	return false
}

func group(s string, m []int, g int) string {
	if m[2*g] < 0 {
		return ""
	}
	return s[m[2*g]:m[2*g+1]]
}

// fieldIndex finds the words of a list of features as Python writes it.
func fieldIndex(s string) [][]int { return featureWord.FindAllStringIndex(s, -1) }

var featureWord = regexp.MustCompile(`[\w.+\-\pL]+`)

// onces are the parts of the index that are made when they are needed first.
type onces struct {
	once, featuresOnce sync.Once
	words              map[string]int
	boards             []string // names of machines and distros
	features           map[string]*featureVar
	foreign            []string // X_FEATURES that a layer below defines
}
