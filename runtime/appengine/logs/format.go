package logs

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// maxLine bounds a line of the outputs that are made of lines; a longer one
// becomes several.
const maxLine = 16 << 10

// line is one line of one source on its way to an output.
type line struct {
	platform, source string
	level            Level
	at               time.Time
	secs             int64
	text             []byte
}

// appendPV writes the form of pantavisor.log.
func appendPV(b []byte, l line, format string) []byte {
	b = append(b, '[')
	b = append(b, l.platform...)
	b = append(b, "] "...)
	if format != "" {
		b = appendStamp(b, l.at, format)
	}
	b = strconv.AppendInt(b, l.secs, 10)
	b = append(b, ' ')
	b = append(b, l.level.String()...)
	b = append(b, "\t -- ["...)
	b = append(b, l.source...)
	b = append(b, "]: "...)
	b = append(b, l.text...)
	return append(b, '\n')
}

// appendStamp writes "[time] ", or "[--] " where the format is not known.
func appendStamp(b []byte, at time.Time, format string) []byte {
	b = append(b, '[')
	var ok bool
	if b, ok = appendTime(b, at, format); !ok {
		b = append(b, "--"...)
	}
	return append(b, "] "...)
}

// appendJSON writes the form of pv.log and of an update's log.
func appendJSON(b []byte, l line, format string) []byte {
	b = append(b, `{"tsec":`...)
	b = strconv.AppendInt(b, l.secs, 10)
	b = append(b, `,"tnano":0`...)
	if stamp, ok := appendTime(nil, l.at, format); ok {
		b = append(b, `,"ts":`...)
		b = appendText(b, string(stamp))
	}
	for _, f := range [...]struct{ key, text string }{
		{`,"platform":`, l.platform}, {`,"lvl":`, l.level.String()}, {`,"src":`, l.source}, {`,"msg":`, string(l.text)},
	} {
		b = append(b, f.key...)
		b = appendText(b, f.text)
	}
	return append(b, "}\n"...)
}

// appendText writes a text as JSON, without the escapes for HTML. Bytes that
// are not UTF-8 become U+FFFD.
func appendText(b []byte, text string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a string always encodes
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}
