package kas

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The patterns are those of YAML 1.1 as PyYAML applies them (yaml/resolver.py):
// each only to scalars that begin with one of its characters.
var (
	floatPattern = regexp.MustCompile(`^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?` +
		`|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?` +
		`|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*` +
		`|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\n?$`)
	intPattern = regexp.MustCompile(`^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)` +
		`|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)\n?$`)
	timestampPattern = regexp.MustCompile(`^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}` +
		`|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?` +
		`(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)\n?$`)
	timestampParts = regexp.MustCompile(`^([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})` +
		`(?:(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?` +
		`(?:[ \t]*(Z|([-+])([0-9]{1,2})(?::([0-9]{2}))?))?)?`)
)

// resolved is the type of a plain scalar; the two that are no Kind have a
// meaning only as keys of a mapping.
type resolved uint8

const (
	plainString resolved = iota
	plainNull
	plainBool
	plainInt
	plainFloat
	plainTimestamp
	plainMerge // <<
	plainValue // =
)

// resolvePlain finds the type of a plain scalar.
func resolvePlain(s string) resolved {
	if s == "" {
		return plainNull
	}
	switch c := s[0]; {
	case strings.IndexByte("yYnNtTfFoO~", c) >= 0:
		return resolveWord(s)
	case c == '<':
		if s == "<<" {
			return plainMerge
		}
	case c == '=':
		if s == "=" {
			return plainValue
		}
	case c == '-' || c == '+' || c == '.' || '0' <= c && c <= '9':
		switch {
		case floatPattern.MatchString(s):
			return plainFloat
		case c != '.' && intPattern.MatchString(s):
			return plainInt
		case '0' <= c && c <= '9' && timestampPattern.MatchString(s):
			return plainTimestamp
		}
	}
	return plainString
}

// resolveWord knows the words: all lower, capitalized, or all upper.
func resolveWord(s string) resolved {
	lower := strings.ToLower(s)
	if s != lower && s != strings.ToUpper(s) && s != strings.ToUpper(s[:1])+lower[1:] {
		return plainString
	}
	switch lower {
	case "yes", "no", "true", "false", "on", "off":
		return plainBool
	case "~", "null":
		return plainNull
	}
	return plainString
}

// scalar makes a value of a scalar whose type is known, as PyYAML's
// SafeConstructor does.
func scalar(t resolved, s string) (*Value, error) {
	switch t {
	case plainNull:
		return &Value{Kind: Null}, nil
	case plainBool:
		switch strings.ToLower(s) {
		case "yes", "true", "on":
			return NewBool(true), nil
		case "no", "false", "off":
			return NewBool(false), nil
		}
		return nil, fmt.Errorf("%q is not a boolean", s)
	case plainInt:
		n, err := parseInt(s)
		if err != nil {
			return nil, err
		}
		return &Value{Kind: Int, Text: n.String()}, nil
	case plainFloat:
		f, err := parseFloat(s)
		if err != nil {
			return nil, err
		}
		return &Value{Kind: Float, Text: pyFloat(f)}, nil
	case plainTimestamp:
		text, err := parseTimestamp(s)
		if err != nil {
			return nil, err
		}
		return &Value{Kind: Timestamp, Text: text}, nil
	case plainMerge, plainValue:
		return nil, fmt.Errorf("a plain %q stands for no value; write it in quotes", s)
	}
	return &Value{Kind: String, Text: s}, nil
}

// maxDigits bounds an integer's text: Python stops converting at 4,300.
const maxDigits = 4300

// parseInt reads 0b, 0x, octal with a leading 0, and sexagesimal integers.
func parseInt(s string) (*big.Int, error) {
	fail := fmt.Errorf("%q is not an integer", s)
	if len(s) > maxDigits {
		return nil, errors.New("an integer with too many digits")
	}
	t, neg := sign(strings.ReplaceAll(s, "_", ""))
	n := new(big.Int)
	ok := true
	switch {
	case t == "":
		return nil, fail
	case t == "0":
	case strings.HasPrefix(t, "0b"):
		_, ok = n.SetString(t[2:], 2)
	case strings.HasPrefix(t, "0x"):
		_, ok = n.SetString(t[2:], 16)
	case t[0] == '0':
		_, ok = n.SetString(strings.TrimPrefix(strings.TrimPrefix(t, "0"), "o"), 8)
	case strings.Contains(t, ":"):
		for part := range strings.SplitSeq(t, ":") {
			d, good := new(big.Int).SetString(part, 10)
			if ok = ok && good; !ok {
				break
			}
			n.Mul(n, big.NewInt(60)).Add(n, d)
		}
	default:
		_, ok = n.SetString(t, 10)
	}
	if !ok {
		return nil, fail
	}
	if neg {
		n.Neg(n)
	}
	return n, nil
}

func parseFloat(s string) (float64, error) {
	t, neg := sign(strings.ToLower(strings.ReplaceAll(s, "_", "")))
	var f float64
	var err error
	switch {
	case t == ".inf":
		f = math.Inf(1)
	case t == ".nan":
		return math.NaN(), nil
	case strings.Contains(t, ":"):
		// Least significant part first, as PyYAML adds them up.
		parts := strings.Split(t, ":")
		base := 1.0
		for i := len(parts) - 1; i >= 0; i-- {
			d, e := strconv.ParseFloat(parts[i], 64)
			if e != nil && !errors.Is(e, strconv.ErrRange) {
				err = e
			}
			f += d * base
			base *= 60
		}
	default:
		// Too large a number is infinite in Python, not an error.
		if f, err = strconv.ParseFloat(t, 64); errors.Is(err, strconv.ErrRange) {
			err = nil
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	if neg {
		f = -f
	}
	return f, nil
}

func sign(s string) (rest string, negative bool) {
	if s == "" {
		return s, false
	}
	switch s[0] {
	case '-':
		return s[1:], true
	case '+':
		return s[1:], false
	}
	return s, false
}

// parseTimestamp gives what Python's isoformat(" ") prints.
func parseTimestamp(s string) (string, error) {
	m := timestampParts.FindStringSubmatch(s)
	if m == nil {
		return "", fmt.Errorf("%q is not a date", s)
	}
	num := func(i int) int { n, _ := strconv.Atoi(m[i]); return n }
	date := fmt.Sprintf("%04d-%02d-%02d", num(1), num(2), num(3))
	if _, err := time.Parse(time.DateOnly, date); err != nil || num(1) == 0 {
		return "", fmt.Errorf("%q is not a date", s)
	}
	if m[4] == "" {
		return date, nil
	}
	if num(4) > 23 || num(5) > 59 || num(6) > 59 {
		return "", fmt.Errorf("%q is not a time", s)
	}
	out := fmt.Sprintf("%s %02d:%02d:%02d", date, num(4), num(5), num(6))
	if f := (m[7] + "000000")[:6]; f != "000000" {
		out += "." + f
	}
	switch {
	case m[9] != "":
		if num(10) > 23 || num(11) > 59 {
			return "", fmt.Errorf("%q is not a time zone", s)
		}
		sgn := m[9]
		if num(10) == 0 && num(11) == 0 {
			sgn = "+"
		}
		out += fmt.Sprintf("%s%02d:%02d", sgn, num(10), num(11))
	case m[8] != "":
		out += "+00:00"
	}
	return out, nil
}

// pyFloat is Python's repr of a float.
func pyFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	mant, exp, _ := strings.Cut(s, "e")
	n, _ := strconv.Atoi(exp)
	if n < -4 || n >= 16 {
		return fmt.Sprintf("%se%+03d", mant, n)
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// integral gives the digits of a float that is a whole number.
func integral(text string) (string, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || f != math.Trunc(f) {
		return "", false
	}
	n, _ := big.NewFloat(f).Int(nil)
	return n.String(), true
}
