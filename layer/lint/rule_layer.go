package lint

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

func neverMatches() *Rule {
	return &Rule{
		ID: "layer-never-matches", Severity: diag.Warning,
		Summary: "a collection or a pattern of layer.conf that can never match",
		Why: "BBFILE_PATTERN_x, BBFILE_PRIORITY_x and LAYERDEPENDS_x are for the collection x of " +
			"BBFILE_COLLECTIONS; for any other name they do nothing. A pattern in BBFILES_DYNAMIC " +
			"under which there is no file adds nothing (a note), and a BBFILES_DYNAMIC entry for a collection whose name " +
			"misses a known one by a letter waits for a layer that does not exist.",
		Fix:  "Correct the name or the path, or remove the entry.",
		file: layerConf,
	}
}

// collections are names of widely used layers, as in BBFILE_COLLECTIONS.
var collections = []string{
	"core", "openembedded-layer", "networking-layer", "meta-python", "perl-layer", "multimedia-layer", "filesystems-layer", "webserver",
	"gnome-layer", "xfce-layer", "virtualization-layer", "selinux", "security", "raspberrypi", "freescale-layer", "freescale-distro",
	"fsl-arm-extra", "ti-bsp", "meta-ti-bsp", "meta-arm", "arm-toolchain", "qt5-layer", "qt6-layer", "rockchip", "intel", "tegra", "sunxi",
	"meta-sunxi", "xilinx", "variscite-bsp", "toradex-bsp-common-layer", "clang-layer", "rust-layer", "chromium-browser-layer", "yocto", "yoctobsp",
	"meta-freescale-3rdparty", "imx-machine-learning", "meta-nxp", "stm-st-stm32mp", "meta-riscv", "riscv", "riscv-layer",
}

func layerConf(p *Pass, f *bitbake.File) {
	layer, ok := strings.CutSuffix(f.Name, "/conf/layer.conf")
	if !ok {
		return
	}
	var own []string
	open := false
	for a := range assigns(f) {
		if base, _ := splitName(a.Name); base == "BBFILE_COLLECTIONS" {
			own = append(own, strings.Fields(a.Value)...)
			open = open || strings.Contains(a.Value, "${")
		}
	}
	for a := range assigns(f) {
		for _, prefix := range []string{"BBFILE_PATTERN_", "BBFILE_PRIORITY_", "LAYERDEPENDS_", "LAYERSERIES_COMPAT_", "LAYERVERSION_", "LAYERRECOMMENDS_"} {
			name, ok := strings.CutPrefix(a.Name, prefix)
			if !ok || open || strings.Contains(name, "${") {
				continue
			}
			if base, _ := splitName(name); !slices.Contains(own, base) {
				d := found(f, a.NameSpan, "there is no collection %s in this file's BBFILE_COLLECTIONS", base)
				if n := diag.Nearest(base, own); n != "" {
					d.Hint = "did you mean " + n + "?"
				} else if len(own) > 0 {
					d.Hint = "the collections here are " + strings.Join(own, ", ")
				}
				p.report(d)
			}
		}
		switch base, words := splitName(a.Name); {
		case keyword(words) == "remove":
		case base == "BBFILES_DYNAMIC":
			dynamicEntries(p, f, a, layer)
		}
	}
}

// valueWords gives each word of a value with its span in the source.
func valueWords(a *bitbake.Assign) func(func(string, bitbake.Span) bool) {
	return func(yield func(string, bitbake.Span) bool) {
		text := a.File.Text(a.ValueSpan)
		for i := 0; i < len(text); {
			if strings.IndexByte(" \t\n\r\\", text[i]) >= 0 {
				i++
				continue
			}
			j := i
			for j < len(text) && strings.IndexByte(" \t\n\r\\", text[j]) < 0 {
				j++
			}
			if !yield(text[i:j], bitbake.Span{Start: a.ValueSpan.Start + i, End: a.ValueSpan.Start + j}) {
				return
			}
			i = j
		}
	}
}

func dynamicEntries(p *Pass, f *bitbake.File, a *bitbake.Assign, layer string) {
	for entry, span := range valueWords(a) {
		name, pattern, ok := strings.Cut(entry, ":")
		if !ok {
			continue
		}
		name = strings.TrimPrefix(name, "!")
		if !slices.Contains(collections, name) && !strings.Contains(name, "$") {
			if n := near(name, collections); n != "" && len(name) > 3 {
				d := found(f, span, "no known layer has the collection name %s", name)
				d.Hint = "did you mean " + n + "?"
				p.report(d)
			}
		}
		glob := strings.ReplaceAll(pattern, "${LAYERDIR}", layer)
		if strings.Contains(glob, "$") || !strings.HasPrefix(glob, "/") {
			continue
		}
		if m, err := fs.Glob(p.fsys, path.Clean(glob)[1:]); err == nil && len(m) == 0 {
			p.report(found(f, span, "no file matches %s", strings.ReplaceAll(pattern, "${LAYERDIR}/", "")))
			p.out[len(p.out)-1].Severity = diag.Note // kept for later, perhaps
		}
	}
}

func missingFile() *Rule {
	return &Rule{
		ID: "missing-file", Severity: diag.Error,
		Summary: "a file that is required and not there",
		Why: "BitBake stops at a `require` without its file and at an `inherit` without its class, and kas at an " +
			"include. A name with a variable in it, and a file that may come from a layer that is not at hand, are " +
			"left alone; so is a class, unless its name misses one that is there by a letter.",
		Fix:     "Correct the name, or use `include` for a file that may be missing.",
		file:    missingRequires,
		project: missingIncludes,
	}
}

func missingRequires(p *Pass, f *bitbake.File) {
	for _, s := range f.Stmts {
		if inh, ok := s.(*bitbake.Inherit); ok {
			missingClasses(p, f, inh)
		}
		inc, ok := s.(*bitbake.Include)
		if !ok || !inc.Required {
			continue
		}
		for name := range strings.FieldsSeq(inc.Files) {
			if strings.Contains(name, "${") || p.reachable(f.Name, name) {
				continue
			}
			d := found(f, inc.ArgSpan, "%s is required and not there", name)
			if n := diag.Nearest(path.Base(name), p.neighbours(f.Name)); n != "" {
				d.Hint = "did you mean " + n + "?"
			}
			p.report(d)
		}
	}
}

// missingClasses speaks about a class that no layer has while one of them has
// a class of nearly that name.
func missingClasses(p *Pass, f *bitbake.File, s *bitbake.Inherit) {
	if strings.Contains(s.Classes, "${") {
		return
	}
	for class := range strings.FieldsSeq(s.Classes) {
		if p.index.byBase[class+".bbclass"] != nil || strings.Contains(class, "/") {
			continue
		}
		for _, base := range sortedKeys(p.index.byBase) {
			if known, ok := strings.CutSuffix(base, ".bbclass"); ok && slips(class, known) {
				d := found(f, s.ArgSpan, "there is no class %s", class)
				d.Hint = "did you mean " + known + "?"
				p.report(d)
				break
			}
		}
	}
}

// reachable reports whether a file can be found beside the one that names it
// or in a layer, or may be in one that is not at hand: then its directory is
// not in the layers, either.
func (p *Pass) reachable(from, name string) bool {
	if path.IsAbs(name) || p.exists(path.Join(path.Dir(from), name)) {
		return true
	}
	dirKnown := !strings.Contains(name, "/")
	for _, l := range slices.Concat(p.Layers, p.Below) {
		if p.exists(path.Join(l, name)) {
			return true
		}
		dir := path.Dir(name)
		// conf/machine/include and the like are in every layer.
		dirKnown = dirKnown || !strings.HasPrefix(dir, "conf") && !strings.HasPrefix(dir, "recipes-") && p.exists(path.Join(l, dir))
	}
	return !dirKnown && !p.complete()
}

// complete reports whether every layer that the layers at hand depend on is
// there, as far as oe-core tells.
func (p *Project) complete() bool {
	return slices.ContainsFunc(slices.Concat(p.Layers, p.Below), func(l string) bool { return p.exists(l + "/conf/bitbake.conf") })
}

func (p *Project) exists(name string) bool {
	if p.sources[name] != nil {
		return true
	}
	_, err := fs.Stat(p.fsys, strings.TrimPrefix(path.Clean(name), "/"))
	return err == nil
}

func (p *Project) neighbours(file string) []string {
	entries, err := fs.ReadDir(p.fsys, strings.TrimPrefix(path.Dir(file), "/"))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// missingIncludes looks at header.includes of kas files: a plain name is a
// path below the repository, or beside the file.
func missingIncludes(p *Pass) {
	for _, k := range p.kas {
		for _, n := range k.includes {
			if n.Value == "" || path.IsAbs(n.Value) || p.kasInclude(k, n.Value) != "" {
				continue
			}
			p.report(diag.Diagnostic{Pos: k.pos(n), Message: n.Value + " is included and not there"})
		}
	}
}

// kasInclude finds an included file, "" when it is not there.
func (p *Project) kasInclude(k *kasFile, name string) string {
	for _, dir := range []string{p.Root, path.Dir(k.src.name)} {
		if file := path.Join(dir, name); p.exists(file) {
			return file
		}
	}
	// The repository may begin between the root and the file.
	for dir := path.Dir(k.src.name); strings.HasPrefix(dir, p.Root) && dir != p.Root; dir = path.Dir(dir) {
		if file := path.Join(dir, name); p.exists(file) {
			return file
		}
	}
	return ""
}
