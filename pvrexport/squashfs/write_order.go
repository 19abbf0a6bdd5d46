package squashfs

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// sortContent puts files in the order of their content in the image. What is
// alike should share a block or lie in blocks side by side: files with the
// same extension, and among these the ones with the same name in different
// directories (copyright, __init__.py, an application's translations); the
// rest by path, because a directory's files are alike too. Against the order
// of paths alone, zstd in 1 MiB blocks makes a Debian base system 5 % smaller
// and a tree of headers, Python and Perl 2 %.
func sortContent(files []*item) {
	names := map[string]int{}
	for _, it := range files {
		names[path.Base(it.path)]++
	}
	type key struct{ extension, name string }
	keys := make(map[*item]key, len(files))
	for _, it := range files {
		k := key{extension: extension(it.path)}
		if base := path.Base(it.path); names[base] > 1 {
			k.name = base
		}
		keys[it] = k
	}
	slices.SortFunc(files, func(a, b *item) int {
		ka, kb := keys[a], keys[b]
		return cmp.Or(strings.Compare(ka.extension, kb.extension), strings.Compare(ka.name, kb.name), strings.Compare(a.path, b.path))
	})
}

// extension is what the name says about the kind of content: "so" for
// libc.so.6 too, and nothing for a name such as .bashrc.
func extension(name string) string {
	base := strings.TrimRight(path.Base(name), "0123456789.")
	i := strings.LastIndexByte(base, '.')
	if i <= 0 {
		return ""
	}
	return base[i+1:]
}
