package container

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Mode is a file's permission bits; unset leaves them to the layer.
type Mode struct {
	Bits uint16
	Set  bool
}

// Owner is who a file belongs to, by number or by names of the image's own
// etc/passwd and etc/group; unset leaves it to the layer. Without a group it is
// the user's own.
type Owner struct {
	User, Group string
	Set         bool
}

// Size is a number of bytes; "256K" and "1M" are understood.
type Size int64

var (
	octal       = regexp.MustCompile(`^(?:0o?)?[0-7]{1,4}$`)
	ownerForm   = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.-]*\$?)(?::([A-Za-z0-9_][A-Za-z0-9_.-]*\$?))?$`)
	sizeForm    = regexp.MustCompile(`^([0-9]{1,10})([KkMm]?)(?:i?[Bb])?$`)
	onlyDecimal = regexp.MustCompile(`^[1-9][0-9]*$`)
)

// mode reads permission bits. YAML 1.1 and 1.2 disagree about 0755 (octal, or
// decimal 755) and agree that 755 is decimal, which nobody means: the text in
// the file decides, and an unquoted number without a leading zero is refused.
func mode(p *Mode) target {
	const want = `an octal mode such as 0755 or "4755"`
	return target{
		want: want, schema: map[string]any{"type": []string{"string", "integer"}, "pattern": octal.String()},
		decode: func(d *decoder, n *yaml.Node) {
			s := d.enter(n, yaml.ScalarNode, want)
			switch {
			case s == nil:
			case s.Tag == "!!int" && onlyDecimal.MatchString(s.Value) && octal.MatchString(s.Value):
				d.errorf(n, fmt.Sprintf("write 0%s for the octal mode", s.Value), "%s is a decimal number in YAML", s.Value)
			case !octal.MatchString(s.Value):
				d.errorf(n, "", "want %s, found %s", want, found(s))
			default:
				bits, _ := strconv.ParseUint(strings.TrimPrefix(strings.TrimPrefix(s.Value, "0o"), "0"), 8, 16)
				*p = Mode{Bits: uint16(bits), Set: true}
			}
		},
	}
}

func owner(p *Owner) target {
	const want = `an owner such as "0:0", "1000:1000" or "www-data"`
	return target{
		want: want, schema: map[string]any{"type": "string", "pattern": ownerForm.String()},
		decode: func(d *decoder, n *yaml.Node) {
			s := d.enter(n, yaml.ScalarNode, want)
			switch {
			case s == nil:
			case onlyDecimal.MatchString(s.Value) || s.Value == "0":
				d.errorf(n, fmt.Sprintf("write \"%s:%s\"", s.Value, s.Value), "%s says nothing about the group", s.Value)
			default:
				o, err := ParseOwner(s.Value)
				if err != nil {
					d.errorf(n, "", "want %s, found %s", want, found(s))
					return
				}
				*p = o
			}
		},
	}
}

// ParseOwner reads "user:group" or "user", as numbers or names.
func ParseOwner(s string) (Owner, error) {
	m := ownerForm.FindStringSubmatch(s)
	if m == nil {
		return Owner{}, fmt.Errorf("owner %q: want user:group", s)
	}
	return Owner{User: m[1], Group: m[2], Set: true}, nil
}

// ParseSize reads a number of bytes with an optional K or M.
func ParseSize(s string) (Size, error) {
	m := sizeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("size %q: want a number of bytes, or one with K or M", s)
	}
	v, _ := strconv.ParseInt(m[1], 10, 64)
	switch m[2] {
	case "K", "k":
		v <<= 10
	case "M", "m":
		v <<= 20
	}
	return Size(v), nil
}

func size(p *Size) target {
	const want = "a size such as 128K, 1M or 131072"
	return target{
		want: want, schema: map[string]any{"type": []string{"string", "integer"}, "pattern": sizeForm.String()},
		decode: func(d *decoder, n *yaml.Node) {
			s := d.enter(n, yaml.ScalarNode, want)
			if s == nil {
				return
			}
			v, err := ParseSize(s.Value)
			if err != nil {
				d.errorf(n, "", "want %s, found %s", want, found(s))
			}
			*p = v
		},
	}
}

// number is any finite number.
func number(p *float64) target {
	const want = "a number"
	return target{
		want: want, schema: map[string]any{"type": "number"},
		decode: func(d *decoder, n *yaml.Node) {
			s := d.enter(n, yaml.ScalarNode, want)
			if s == nil {
				return
			}
			v, err := strconv.ParseFloat(s.Value, 64)
			if (s.Tag != "!!float" && s.Tag != "!!int") || err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
				d.errorf(n, "", "want %s, found %s", want, found(s))
				return
			}
			*p = v
		},
	}
}
