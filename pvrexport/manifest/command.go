package manifest

import (
	"errors"
	"fmt"
	"strings"
)

// ErrOpenQuote is the mistake in a command whose last quote is not closed.
var ErrOpenQuote = errors.New("a quote is not closed")

// SplitCommand splits the value of lxc.init.cmd as lxc does it
// (string_utils.c, lxc_string_split_quoted, the same from lxc 1.1 to 6): words
// stand between blanks; a word that starts with ' or " goes on to the next such
// quote; there are no escapes, and a quote inside a word stands for itself.
// lxc drops what follows a quote that is never closed; here it is ErrOpenQuote.
func SplitCommand(s string) ([]string, error) {
	var words []string
	for {
		s = strings.TrimLeft(s, space)
		if s == "" {
			return words, nil
		}
		if q := s[0]; q == '"' || q == '\'' {
			end := strings.IndexByte(s[1:], q)
			if end < 0 {
				return nil, fmt.Errorf("split command %q: %w", shorten(s), ErrOpenQuote)
			}
			words = append(words, s[1:1+end])
			s = s[end+2:]
			continue
		}
		end := strings.IndexAny(s, space)
		if end < 0 {
			end = len(s)
		}
		words, s = append(words, s[:end]), s[end:]
	}
}

// space is what C's isspace finds in the C locale.
const space = " \t\n\v\f\r"

// WordError is a word of a command that lxc cannot be given: it needs quotes
// and holds both kinds, or it holds a line break.
type WordError struct {
	Word   string
	Reason string
}

func (e *WordError) Error() string { return fmt.Sprintf("the word %q %s", shorten(e.Word), e.Reason) }

// JoinCommand is the inverse of SplitCommand: a text that lxc splits into just
// these words. The first word is bare and the others stand in double quotes, as
// pvr writes it, wherever that works; otherwise the other quote is taken.
func JoinCommand(words []string) (string, error) {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		q, err := quoteWord(w, i == 0)
		if err != nil {
			return "", err
		}
		b.WriteString(q)
	}
	return b.String(), nil
}

func quoteWord(w string, first bool) (string, error) {
	bare := w != "" && !strings.ContainsAny(w, space) && w[0] != '"' && w[0] != '\''
	switch {
	case control(w):
		return "", &WordError{w, "holds a line break or another control character, which lxc.container.conf cannot hold; put the text in a script"}
	case first && bare:
		return w, nil
	case !strings.Contains(w, `"`):
		return `"` + w + `"`, nil
	case !strings.Contains(w, `'`):
		return `'` + w + `'`, nil
	case bare:
		return w, nil
	}
	return "", &WordError{w, `needs quotes and holds both ' and ", which lxc cannot express; put the text in a script`}
}

// confValue writes a value behind "key = " so that lxc reads just that value.
// lxc takes blanks off both ends, and then one pair of equal quotes around the
// whole (confile.c, parse_line), so a value that has those gets a pair to lose.
func confValue(v string) string {
	if v == "" {
		return v
	}
	first, last := v[0], v[len(v)-1]
	quoted := len(v) > 1 && first == last && (first == '"' || first == '\'')
	if quoted || strings.Trim(v, " \t") != v {
		return `"` + v + `"`
	}
	return v
}

// command makes the value of lxc.init.cmd from the image's Entrypoint and Cmd.
// Either may be a list of words; as a text, Entrypoint is a command line that
// lxc splits, and so is Cmd when there is no Entrypoint, while Cmd behind an
// Entrypoint is one word (all of this as in pvr's template). An Entrypoint that
// is one empty word counts as none.
func (r *renderer) command() string {
	entry, ok1 := r.commandPart("Entrypoint", true)
	cmd, ok2 := r.commandPart("Cmd", entry == "")
	switch {
	case !ok1 || !ok2 || entry == "" && cmd == "":
		return "/sbin/init"
	case entry == "" || cmd == "":
		return entry + cmd
	}
	return entry + " " + cmd
}

// commandPart returns one of the two parts as lxc is to see it, "" if it is not
// there. Only the part that comes first can have the bare word.
func (r *renderer) commandPart(key string, first bool) (string, bool) {
	at := "config." + key
	switch v := r.config[key].(type) {
	case nil:
		return "", true
	case string:
		if v != "" && !first {
			return r.joined(at, []string{v}, false)
		}
		words, err := SplitCommand(v)
		if err == nil && control(v) {
			err = &WordError{v, "holds a line break or another control character"}
		}
		if err != nil {
			r.bad(at, "%s: %v", key, err)
			return "", false
		}
		if len(words) > 0 && words[0] == "" {
			r.bad(at, "%s: the first word, the program, is empty", key)
			return "", false
		}
		return strings.Trim(v, space), true
	case []any:
		words := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				r.bad(at, "%s: word %d is %s, want a text", key, i+1, describe(e))
				return "", false
			}
			words[i] = s
		}
		if first && len(words) > 0 && words[0] == "" {
			if len(words) == 1 {
				return "", true
			}
			r.bad(at, "%s: the first word, the program, is empty", key)
			return "", false
		}
		return r.joined(at, words, first)
	default:
		r.bad(at, "%s: got %s, want a list of strings", key, describe(v))
		return "", false
	}
}

func (r *renderer) joined(at string, words []string, first bool) (string, bool) {
	var out []string
	for i, w := range words {
		q, err := quoteWord(w, first && i == 0)
		if err != nil {
			r.bad(at, "%s: %v", strings.TrimPrefix(at, "config."), err)
			return "", false
		}
		out = append(out, q)
	}
	return strings.Join(out, " "), true
}
