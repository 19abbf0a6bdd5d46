package logs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// goFormats are the named formats, in strftime(3)'s words.
var goFormats = map[string]string{
	"golang:Layout":   "%m/%d %H:%M:%S%p '%y %z",
	"golang:RubyDate": "%a %b %d %T %z %Y",
	"golang:ANSIC":    "%a %b %e %T %Y",
	"golang:RFC822Z":  "%d %b %y %H:%M %z",
	"golang:RFC1123Z": "%a, %d %b %Y %T %z",
}

// appendTime writes a time in a format as the settings name it. It reports
// false, and writes nothing, where there is none or it is not known.
func appendTime(b []byte, t time.Time, name string) ([]byte, bool) {
	format, ok := goFormats[name]
	if !ok {
		if format, ok = strings.CutPrefix(name, "strftime"); !ok || len(format) < 2 {
			return b, false
		}
		format = format[1:] // the character between, usually a colon
	}
	return strftime(b, t, format), true
}

// CheckTimeFormat says what is wrong with the name of a time format. Lines have
// "--" for a time in a format that is not known.
func CheckTimeFormat(name string) error {
	if name == "" {
		return nil
	}
	if _, ok := appendTime(nil, time.Time{}, name); ok {
		return nil
	}
	return fmt.Errorf("%q is no format for times: want strftime: and a format of strftime(3), such as \"strftime:%%F %%T\", or one of %s",
		name, strings.Join(slices.Sorted(maps.Keys(goFormats)), ", "))
}

// layouts are the conversions of strftime(3) that Go's own layouts say.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'h': "Jan", 'c': "Mon Jan _2 15:04:05 2006",
	'd': "02", 'D': "01/02/06", 'e': "_2", 'F': "2006-01-02", 'H': "15", 'I': "03", 'm': "01", 'M': "04",
	'p': "PM", 'r': "03:04:05 PM", 'R': "15:04", 'S': "05", 'T': "15:04:05", 'x': "01/02/06", 'X': "15:04:05",
	'y': "06", 'Y': "2006", 'z': "-0700", 'Z': "MST",
}

// strftime writes what strftime(3) writes in the C locale. A conversion that
// it does not know stays as it is.
func strftime(b []byte, t time.Time, format string) []byte {
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b = append(b, format[i])
			continue
		}
		i++
		switch c := format[i]; c {
		case '%':
			b = append(b, '%')
		case 'n':
			b = append(b, ' ') // a stamp stays on its line
		case 't':
			b = append(b, '\t')
		case 's':
			b = strconv.AppendInt(b, t.Unix(), 10)
		case 'j':
			b = append(b, pad(t.YearDay(), 3)...)
		case 'u':
			b = strconv.AppendInt(b, int64((t.Weekday()+6)%7+1), 10)
		case 'w':
			b = strconv.AppendInt(b, int64(t.Weekday()), 10)
		case 'C':
			b = append(b, pad(t.Year()/100, 2)...)
		case 'V':
			_, week := t.ISOWeek()
			b = append(b, pad(week, 2)...)
		default:
			if layout, ok := layouts[c]; ok {
				b = t.AppendFormat(b, layout)
			} else {
				b = append(b, '%', c)
			}
		}
	}
	return b
}

func pad(n, width int) string {
	s := strconv.Itoa(n)
	return strings.Repeat("0", max(0, width-len(s))) + s
}
