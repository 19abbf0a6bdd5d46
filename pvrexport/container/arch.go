package container

import (
	"fmt"
	"slices"
	"strings"
)

// Arch is a device architecture by the name that definitions use.
type Arch string

// archInfo says how Go builds for an architecture.
type archInfo struct {
	name           Arch
	goarch, tuning string // tuning is GOARM or the like, "" for none
	byDefault      bool
}

// archs is the table of architectures. The tuning values are the lowest of the
// architecture, so that a program runs on every board of it.
var archs = [...]archInfo{
	{"amd64", "amd64", "GOAMD64=v1", true},
	{"arm64", "arm64", "GOARM64=v8.0", true},
	{"armv7", "arm", "GOARM=7", true},
	{"riscv64", "riscv64", "GORISCV64=rva20u64", false},
}

// Archs lists the architectures that containers can be built for.
func Archs() []Arch {
	out := make([]Arch, 0, len(archs))
	for _, a := range archs {
		out = append(out, a.name)
	}
	return out
}

func archNames() []string {
	var out []string
	for _, a := range Archs() {
		out = append(out, string(a))
	}
	return out
}

// ParseArchs reads a comma-separated list of architectures. "all" gives nil,
// which stands for those that a definition names itself.
func ParseArchs(s string) ([]Arch, error) {
	if s == "all" || s == "" {
		return nil, nil
	}
	var out []Arch
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(archNames(), name) {
			hint := ""
			if h := suggest(name, archNames()); h != "" {
				hint = "; " + h
			}
			return nil, fmt.Errorf("unknown architecture %q: want %s or all%s", name, strings.Join(archNames(), ", "), hint)
		}
		if !slices.Contains(out, Arch(name)) {
			out = append(out, Arch(name))
		}
	}
	return out, nil
}

func (a Arch) info() (archInfo, error) {
	i := slices.IndexFunc(archs[:], func(i archInfo) bool { return i.name == a })
	if i < 0 {
		return archInfo{}, fmt.Errorf("unknown architecture %q", string(a))
	}
	return archs[i], nil
}

// Targets is what the definition is built for: the architectures asked for
// that it has, or all that it has.
func (def *Definition) Targets(asked []Arch) []Arch {
	has := def.Architectures
	if len(has) == 0 {
		for _, a := range archs {
			if a.byDefault || slices.Contains(asked, a.name) {
				has = append(has, a.name)
			}
		}
	}
	if asked == nil {
		return has
	}
	return slices.DeleteFunc(slices.Clone(has), func(a Arch) bool { return !slices.Contains(asked, a) })
}
