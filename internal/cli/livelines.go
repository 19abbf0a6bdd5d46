package cli

import (
	"fmt"
	"io"
	"strings"
)

// liveLines are lines at the end of a terminal that change in place.
type liveLines struct {
	w     io.Writer
	drawn int // lines that are on the screen
}

// draw puts text above the live lines and draws those anew. Nobody can do
// anything about a terminal that is gone, so errors of writing are dropped.
func (l *liveLines) draw(text string, lines []string) {
	var b strings.Builder
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", l.drawn)
	}
	b.WriteString(text)
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	l.drawn = len(lines)
	_, _ = io.WriteString(l.w, b.String())
}
