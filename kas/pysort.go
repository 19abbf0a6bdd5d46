package kas

import (
	"cmp"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// sortedEntries sorts a mapping's entries by key as Python's sorted does, by
// code point, and leaves them alone where Python cannot compare the keys.
func sortedEntries(in []*Entry) []*Entry {
	for _, e := range in[min(len(in), 1):] {
		a, b := in[0].Key, e.Key
		if sortClass(a) != sortClass(b) || sortClass(a) == "" {
			return in
		}
	}
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b *Entry) int { return compareKeys(a.Key, b.Key) })
	return out
}

// sortClass names what Python can compare with each other.
func sortClass(v *Value) string {
	switch v.Kind {
	case String:
		return "str"
	case Int, Float, Bool:
		return "number"
	case Timestamp:
		switch {
		case len(v.Text) == len("2006-01-02"):
			return "date"
		case strings.LastIndexAny(v.Text, "+-") > len("2006-01-02"):
			return "aware"
		}
		return "naive"
	}
	return ""
}

func compareKeys(a, b *Value) int {
	if sortClass(a) == "number" {
		return number(a).Cmp(number(b))
	}
	return cmp.Compare(a.Text, b.Text)
}

func number(v *Value) *big.Float {
	switch v.Kind {
	case Bool:
		if v.Text == "true" {
			return big.NewFloat(1)
		}
		return new(big.Float)
	case Int:
		f, _, err := big.ParseFloat(v.Text, 10, 1<<15, big.ToNearestEven)
		if err != nil {
			return new(big.Float)
		}
		return f
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	if err != nil || f != f {
		return new(big.Float)
	}
	return big.NewFloat(f)
}

// splitLines is Python's str.splitlines.
func splitLines(s string) []string {
	var out []string
	for s != "" {
		i := strings.IndexFunc(s, func(r rune) bool {
			return r >= '\n' && r <= '\r' || r >= 0x1c && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
		})
		if i < 0 {
			return append(out, s)
		}
		out = append(out, s[:i])
		size := 1
		switch {
		case strings.HasPrefix(s[i:], "\r\n"):
			size = 2
		case s[i] == 0xc2:
			size = 2
		case s[i] == 0xe2:
			size = 3
		}
		s = s[i+size:]
	}
	return out
}
