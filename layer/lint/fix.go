package lint

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/pvkit/pvkit/internal/diag"
)

// ApplyFixes makes the edits of all findings whose files are in texts. It
// returns the texts that change and the findings that are left: those without
// a fix, and those whose edits overlap another one's. A fix stays within its
// lines.
func ApplyFixes(texts map[string][]byte, ds []diag.Diagnostic) (mended map[string][]byte, left []diag.Diagnostic) {
	taken := map[string][]diag.Edit{}
	for _, d := range ds {
		if d.Fix == nil || !applicable(texts, taken, d.Fix.Edits) {
			left = append(left, d)
			continue
		}
		for _, e := range d.Fix.Edits {
			taken[e.File] = append(taken[e.File], e)
		}
	}
	mended = map[string][]byte{}
	for file, edits := range taken {
		slices.SortStableFunc(edits, func(a, b diag.Edit) int { return cmp.Compare(a.Start, b.Start) })
		var out []byte
		at := 0
		for _, e := range edits {
			out = append(append(out, texts[file][at:e.Start]...), e.Text...)
			at = e.End
		}
		mended[file] = append(out, texts[file][at:]...)
	}
	return mended, left
}

// applicable reports whether all edits lie in their files and touch nothing
// that is taken already.
func applicable(texts map[string][]byte, taken map[string][]diag.Edit, edits []diag.Edit) bool {
	for _, e := range edits {
		text, ok := texts[e.File]
		if !ok || e.Start < 0 || e.Start > e.End || e.End > len(text) || bytes.ContainsRune(text[e.Start:e.End], '\n') {
			return false
		}
		for _, other := range taken[e.File] {
			if e.Start < other.End && other.Start < e.End || e.Start == other.Start {
				return false
			}
		}
	}
	return true
}

const around = 3 // lines shown before and after a change

// UnifiedHunks shows the difference of two texts with the same number of
// lines, as the fixes of this package make it.
func UnifiedHunks(old, now []byte) []byte {
	a, b := bytes.SplitAfter(old, []byte("\n")), bytes.SplitAfter(now, []byte("\n"))
	if len(a) > 0 && len(a[len(a)-1]) == 0 {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var out bytes.Buffer
	for i := 0; i < len(a); i++ {
		if bytes.Equal(a[i], b[i]) {
			continue
		}
		from, last := max(i-around, 0), i
		for j := i; j < len(a) && j <= last+2*around; j++ {
			if !bytes.Equal(a[j], b[j]) {
				last = j
			}
		}
		to := min(last+around+1, len(a))
		fmt.Fprintf(&out, "@@ -%d,%d +%d,%d @@\n", from+1, to-from, from+1, to-from)
		for j := from; j < to; {
			if bytes.Equal(a[j], b[j]) {
				writeLine(&out, ' ', a[j])
				j++
				continue
			}
			end := j
			for end < to && !bytes.Equal(a[end], b[end]) {
				end++
			}
			for k := j; k < end; k++ {
				writeLine(&out, '-', a[k])
			}
			for k := j; k < end; k++ {
				writeLine(&out, '+', b[k])
			}
			j = end
		}
		i = to - 1
	}
	return out.Bytes()
}

func writeLine(out *bytes.Buffer, mark byte, line []byte) {
	out.WriteByte(mark)
	out.Write(line)
	if !bytes.HasSuffix(line, []byte("\n")) {
		out.WriteString("\n\\ No newline at end of file\n")
	}
}
