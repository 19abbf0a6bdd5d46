package kas

import (
	"iter"
	"slices"
	"strconv"
)

// Origin says where a setting comes from.
type Origin struct {
	// Path is the way to the setting: "local_conf_header.rm_work".
	Path  string
	Keys  []string
	Value *Value
	// Over holds the values that it replaced, oldest first.
	Over []*Value
	// Dropped holds values of the same key in the same file, which YAML
	// readers drop.
	Dropped []*Value
}

// Origins yields every setting of the configuration in its order: what is no
// mapping, and empty mappings.
func (c *Config) Origins() iter.Seq[Origin] {
	return func(yield func(Origin) bool) {
		walkOrigins(c.Root, nil, yield)
	}
}

func walkOrigins(v *Value, keys []string, yield func(Origin) bool) bool {
	for _, e := range v.Entries() {
		below := slices.Concat(keys, []string{keyText(e.Key)})
		o := Origin{Path: pathText(below), Keys: below, Value: e.Value, Over: e.Over}
		for _, d := range e.Dropped {
			o.Dropped = append(o.Dropped, d.Value)
		}
		if len(e.Value.Entries()) == 0 || len(e.Over) > 0 || len(o.Dropped) > 0 {
			if !yield(o) {
				return false
			}
		}
		if !walkOrigins(e.Value, below, yield) {
			return false
		}
	}
	return true
}

// pathText joins keys with dots, those with dots in quotes.
func pathText(keys []string) string {
	out := ""
	for i, k := range keys {
		for _, c := range k {
			if c == '.' || c <= ' ' || c == '"' {
				k = strconv.Quote(k)
				break
			}
		}
		if i > 0 {
			out += "."
		}
		out += k
	}
	return out
}
