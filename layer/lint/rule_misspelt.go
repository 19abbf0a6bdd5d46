package lint

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

func misspelt() *Rule {
	return &Rule{
		ID: "misspelt-name", Severity: diag.Warning,
		Summary: "a variable, keyword or override that misses a known one by a letter",
		Why: "BitBake takes any name. `REPENDS = \"foo\"` is a variable that nothing reads, and `:apend` is an " +
			"override that is never active. The rule speaks only about variables that no file at hand reads.",
		Fix:     "Write the name that was meant.",
		project: misspeltNames,
		file:    misspeltKeywords,
	}
}

// readByBitBake are variables of oe-core that recipes and configurations set
// and that are easily misspelt; short names have too many neighbours.
var readByBitBake = []string{
	"BBCLASSEXTEND", "BBFILE_COLLECTIONS", "BBFILE_PRIORITY", "BUGTRACKER", "COMPATIBLE_HOST", "COMPATIBLE_MACHINE", "CONFLICT_DISTRO_FEATURES",
	"CORE_IMAGE_EXTRA_INSTALL", "DEPENDS", "DESCRIPTION", "DISTRO_FEATURES", "EXTRA_IMAGE_FEATURES", "EXTRA_OECMAKE", "EXTRA_OECONF", "EXTRA_OEMAKE",
	"EXTRA_OEMESON", "FILESEXTRAPATHS", "HOMEPAGE", "IMAGE_FEATURES", "IMAGE_FSTYPES", "IMAGE_INSTALL", "IMAGE_ROOTFS_EXTRA_SPACE",
	"INHERIT", "INSANE_SKIP", "KERNEL_DEVICETREE", "KERNEL_IMAGETYPE", "KERNEL_MODULE_AUTOLOAD", "LAYERDEPENDS", "LAYERSERIES_COMPAT", "LICENSE",
	"LIC_FILES_CHKSUM", "MACHINE_FEATURES", "PACKAGECONFIG", "PACKAGES", "PACKAGE_ARCH", "PACKAGE_CLASSES", "PREFERRED_PROVIDER", "PREFERRED_VERSION",
	"PROVIDES", "RCONFLICTS", "RDEPENDS", "REQUIRED_DISTRO_FEATURES", "RPROVIDES", "RRECOMMENDS", "RREPLACES", "SECTION", "SERIAL_CONSOLES",
	"SRCREV", "SRC_URI", "SUMMARY", "SYSTEMD_AUTO_ENABLE", "SYSTEMD_PACKAGES", "SYSTEMD_SERVICE", "UBOOT_MACHINE", "UPSTREAM_CHECK_URI",
}

var word = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

func misspeltNames(p *Pass) {
	type place struct {
		f *bitbake.File
		a *bitbake.Assign
	}
	suspects := map[string][]place{}
	for _, f := range p.index.mine() {
		for a := range assigns(f) {
			base, _ := splitName(a.Name)
			if a.Flag != "" || len(base) < 6 || strings.ToUpper(base) != base || slices.Contains(readByBitBake, base) {
				continue
			}
			if near(base, readByBitBake) != "" {
				suspects[base] = append(suspects[base], place{f, a})
			}
		}
	}
	if len(suspects) == 0 {
		return
	}
	read := p.index.mentions(suspectNames(suspects))
	for name, places := range suspects {
		if read[name] || len(places) > 3 {
			continue
		}
		for _, at := range places {
			d := found(at.f, at.a.NameSpan, "nothing reads %s", name)
			d.Hint = "did you mean " + near(name, readByBitBake) + "?"
			p.report(d)
		}
	}
}

func suspectNames[T any](m map[string]T) map[string]bool {
	out := map[string]bool{}
	for k := range m {
		out[k] = true
	}
	return out
}

// near finds a name one letter away.
func near(name string, known []string) string {
	for _, k := range known {
		if diag.Distance(name, k, 1) == 1 {
			return k
		}
	}
	return ""
}

// mentions reports which names occur in a file other than as the target of an
// assignment.
func (x *index) mentions(names map[string]bool) map[string]bool {
	out := map[string]bool{}
	for _, f := range x.files {
		targets := map[int]bool{}
		for a := range assigns(f) {
			targets[a.NameSpan.Start] = true
		}
		for _, m := range word.FindAllStringIndex(f.Src, -1) {
			if w := f.Src[m[0]:m[1]]; names[w] && !targets[m[0]] && !inComment(f.Src, m[0]) {
				out[w] = true
			}
		}
	}
	return out
}

func inComment(src string, at int) bool {
	line := src[strings.LastIndexByte(src[:at], '\n')+1 : at]
	return strings.HasPrefix(strings.TrimSpace(line), "#")
}

// fixedOverrides are override words that oe-core always has.
var fixedOverrides = []string{"class-native", "class-target", "class-nativesdk", "class-cross", "class-crosssdk", "class-cross-canadian", "forcevariable", "libc-musl", "libc-glibc", "libc-newlib"}

func misspeltKeywords(p *Pass, f *bitbake.File) {
	check := func(name string, span bitbake.Span) {
		base, words := splitName(name)
		if strings.Contains(base, "${") {
			return
		}
		for _, w := range words {
			if strings.Contains(w, "${") || slices.Contains(fixedOverrides, w) {
				continue
			}
			meant := ""
			for _, k := range []string{"append", "prepend", "remove"} {
				if w != k && diag.Distance(w, k, 1) == 1 && len(w) > 4 {
					meant = k
				}
			}
			for _, k := range fixedOverrides {
				if meant == "" && diag.Distance(w, k, 2) <= 2 && len(w) > 6 && w[0] == k[0] && strings.Contains(w, "-") == strings.Contains(k, "-") {
					meant = k
				}
			}
			if meant == "" {
				meant = p.index.nearBoard(w)
			}
			if meant == "" || p.index.overrideWords()[w] > 1 {
				continue
			}
			d := found(f, span, "%s: %q is no known override", name, w)
			d.Hint = "did you mean " + meant + "?"
			p.report(d)
		}
	}
	for _, s := range f.Stmts {
		switch s := s.(type) {
		case *bitbake.Assign:
			check(s.Name, s.NameSpan)
		case *bitbake.Function:
			check(s.Name, s.NameSpan)
		}
	}
}

// slips reports whether word is known with a letter too many or too few, or
// two exchanged. One letter for another is no slip here: imx8mm and imx8mn are
// both right.
func slips(word, known string) bool {
	if len(word) < 6 || diag.Distance(word, known, 1) != 1 {
		return false
	}
	if len(word) != len(known) {
		return strings.IndexFunc(word+known, unicode.IsDigit) < 0
	}
	differ := 0
	for i := range len(word) {
		if word[i] != known[i] {
			differ++
		}
	}
	return differ == 2
}

// nearBoard finds the machine or distro of the layers whose name an override
// misses.
func (x *index) nearBoard(word string) string {
	if x.overrideWords()[word] > 1 {
		return ""
	}
	for _, name := range x.boards {
		if slips(word, name) {
			return name
		}
	}
	return ""
}

// overrideWords counts the files in which a word occurs as an override, or as
// the name of a machine or distro.
func (x *index) overrideWords() map[string]int {
	x.once.Do(func() {
		x.words = map[string]int{}
		for _, f := range x.files {
			seen := map[string]bool{}
			for a := range assigns(f) {
				_, words := splitName(a.Name)
				for _, w := range words {
					seen[w] = true
				}
				if strings.HasSuffix(a.Name, "OVERRIDES") {
					for w := range strings.SplitSeq(a.Value, ":") {
						x.words[w] += 2
					}
				}
			}
			for w := range seen {
				x.words[w]++
			}
			if d := path.Base(path.Dir(f.Name)); d == "machine" || d == "distro" {
				name := strings.TrimSuffix(path.Base(f.Name), ".conf")
				x.words[name] += 2
				x.boards = append(x.boards, name)
			}
		}
		slices.Sort(x.boards)
	})
	return x.words
}

// mine lists the parsed files that are looked at, sorted by name.
func (x *index) mine() []*bitbake.File {
	below := map[string]bool{}
	for _, n := range x.p.below {
		below[n] = true
	}
	var out []*bitbake.File
	for _, name := range sortedKeys(x.files) {
		if !below[name] && !foreign(x.files[name]) {
			out = append(out, x.files[name])
		}
	}
	return out
}
