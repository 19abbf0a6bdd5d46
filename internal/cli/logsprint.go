package cli

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/pvkit/pvkit/runtime/appengine/logs"
)

// logPrinter prints entries for people, or as JSON.
type logPrinter struct {
	w        io.Writer
	json     bool
	times    bool
	terminal bool
	colour   bool
	width    int
}

func newLogPrinter(w io.Writer, env Env, f *logsFlags, names []string) *logPrinter {
	p := &logPrinter{w: w, json: f.json, times: f.times}
	if out, ok := env.Stdout.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
		p.terminal = true
		p.colour = env.Getenv("NO_COLOR") == "" && env.Getenv("TERM") != "dumb"
	}
	for _, n := range names {
		p.width = min(max(p.width, len(n)), 24)
	}
	return p
}

func (p *logPrinter) print(e logs.Entry) error {
	if p.json {
		enc := json.NewEncoder(p.w)
		enc.SetEscapeHTML(false)
		return enc.Encode(e)
	}
	var b strings.Builder
	if p.times {
		b.WriteString(e.Time.Format("2006-01-02T15:04:05.000Z07:00 "))
	}
	p.paint(&b, nameColour(e.Container), fmt.Sprintf("%-*s |", p.width, e.Container))
	b.WriteByte(' ')
	switch {
	case e.Level != "":
		p.paint(&b, levelColours[e.Level], e.Level)
		b.WriteString(" " + e.Source + ": ")
	case e.Source != logs.Console:
		b.WriteString(e.Source + ": ")
	}
	text := e.Text
	if p.terminal {
		text = plain(text)
	}
	b.WriteString(text + "\n")
	_, err := io.WriteString(p.w, b.String())
	return err
}

// levelColours are SGR parameters.
var levelColours = map[string]int{"FATAL": 31, "ERROR": 31, "WARN": 33}

// nameColour gives a name one of six colours, always the same.
func nameColour(name string) int {
	h := fnv.New32a()
	_, _ = io.WriteString(h, name)
	return [...]int{32, 34, 35, 36, 92, 94}[h.Sum32()%6]
}

func (p *logPrinter) paint(b *strings.Builder, colour int, text string) {
	if !p.colour || colour == 0 {
		b.WriteString(text)
		return
	}
	fmt.Fprintf(b, "\x1b[%dm%s\x1b[0m", colour, text)
}

// plain makes a line fit for a terminal: what a container prints must not move
// the cursor or set the title. Of a line that was written over after a carriage
// return the last is shown; escape sequences go, other control characters are
// shown as what they are.
func plain(text string) string {
	if i := strings.LastIndexByte(text, '\r'); i >= 0 {
		text = text[i+1:]
	}
	var b strings.Builder
	for rest := text; rest != ""; {
		if n := escape(rest); n > 0 {
			rest = rest[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(rest)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, rest[0])
		case r == '\t' || r >= ' ' && r != 0x7f && (r < 0x80 || r >= 0xa0):
			b.WriteString(rest[:n])
		case r == '\b':
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		rest = rest[n:]
	}
	return b.String()
}

// escape is the length of the terminal sequence that a text begins with: CSI
// to its final byte, OSC to BEL or ST, or a pair.
func escape(s string) int {
	if s[0] != 0x1b {
		return 0
	}
	if len(s) == 1 {
		return 1
	}
	switch s[1] {
	case '[':
		for i := 2; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
		}
		return len(s)
	case ']', 'P', '_', '^':
		for i := 2; i < len(s); i++ {
			if s[i] == 0x07 {
				return i + 1
			}
			if s[i] == '\\' && s[i-1] == 0x1b {
				return i + 1
			}
		}
		return len(s)
	}
	return 2
}
