package logs

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The log sockets take five formats, told apart by their first bytes
// (docs/reference/logserver-sockets.md):
//
//	<N>1 …                   RFC 5424
//	<N>…                     RFC 3164
//	{"version":"0",…}        JSON
//	level=… src=… message=…  key=value
//	code, len, …             binary, for pantavisor's own clients

const (
	maxMessage = 64 << 10
	binaryHead = 8 // two ints in the machine's order

	codeLegacy  = 0
	codeCommand = 256
)

// message is what somebody sent. platform is what a binary message claims; it
// counts only for a sender on the host.
type message struct {
	platform, source string
	level            Level
	text             []byte
	raw              bool // text is written as it is, without an end of its line
}

var errCommand = errors.New("commands for the log server are taken from the runtime only")

// decode reads one message.
func decode(b []byte) (message, error) {
	switch {
	case len(b) == 0:
		return message{}, errors.New("an empty message")
	case b[0] == '<':
		return decodeSyslog(b)
	case b[0] == '{':
		return decodeJSON(b)
	case bytes.ContainsRune([]byte(" \t\nlsm"), rune(b[0])):
		return decodeKeyValue(string(b))
	}
	return decodeBinary(b)
}

func decodeBinary(b []byte) (message, error) {
	code, n, err := binaryHeader(b)
	if err != nil {
		return message{}, err
	}
	if code == codeCommand {
		return message{}, errCommand
	}
	body := b[binaryHead:]
	body = body[:min(n, len(body))]
	f := bytes.SplitN(body, []byte{0}, 4)
	if len(f) != 4 {
		return message{}, errors.New("a binary message is level, platform, source and data with zero bytes between")
	}
	level, err := strconv.Atoi(string(f[0]))
	if err != nil || level < int(Fatal) || level > int(Trace) {
		return message{}, fmt.Errorf("level %q is not 0 to 5", clip(string(f[0]), 20))
	}
	return message{platform: string(f[1]), source: string(f[2]), level: Level(level), text: f[3], raw: true}, nil
}

// binaryHeader reads the code and the length of a binary message.
func binaryHeader(b []byte) (code, n int, err error) {
	if len(b) < binaryHead {
		return 0, 0, errors.New("this is none of the log formats")
	}
	c, l := int32(binary.NativeEndian.Uint32(b)), int32(binary.NativeEndian.Uint32(b[4:]))
	if c != codeLegacy && c != codeCommand {
		return 0, 0, errors.New("this is none of the log formats")
	}
	if l < 0 || l > maxMessage-binaryHead {
		return 0, 0, fmt.Errorf("a binary message of %d bytes", l)
	}
	return int(c), int(l), nil
}

// severities are syslog's eight as levels.
var severities = [8]Level{Fatal, Fatal, Error, Error, Warn, Info, Info, Debug}

func decodeSyslog(b []byte) (message, error) {
	end := bytes.IndexByte(b[:min(len(b), 6)], '>')
	if end < 2 {
		return message{}, errors.New("a syslog message begins with <PRI>")
	}
	pri, err := strconv.ParseUint(string(b[1:end]), 10, 16)
	if err != nil || pri > 191 {
		return message{}, fmt.Errorf("syslog priority %q", clip(string(b[1:end]), 10))
	}
	m := message{level: severities[pri%8]}
	text := string(bytes.TrimRight(b[end+1:], "\r\n\x00"))
	if strings.HasPrefix(text, "1 ") {
		err = m.rfc5424(text[2:])
	} else {
		m.rfc3164(text)
	}
	return m, err
}

// rfc3164 reads "Mmm dd hh:mm:ss [host] tag[pid]: text". Everything before the
// text may be missing: libraries differ in what they send to a local socket.
// The time and the host are not used; the server knows both better.
func (m *message) rfc3164(text string) {
	m.source = "unknown-app"
	dated := false
	if rest, ok := cutStamp(text); ok {
		text, dated = rest, true
	}
	head, body, ok := strings.Cut(text, ":")
	if ok && dated {
		if space := strings.IndexByte(head, ' '); space >= 0 {
			head = head[space+1:] // the host
		}
	}
	tag, _, _ := strings.Cut(head, "[")
	if ok && tag != "" && len(tag) <= 64 && !strings.ContainsAny(tag, " \t\n") {
		m.source, text = tag, strings.TrimPrefix(body, " ")
	}
	m.text = []byte(text)
}

// cutStamp cuts "Mmm dd hh:mm:ss " or a time as RFC 3339 has it.
func cutStamp(text string) (string, bool) {
	const stamp = "Jan _2 15:04:05"
	if len(text) > len(stamp) && text[3] == ' ' && text[6] == ' ' && text[9] == ':' && text[12] == ':' && text[15] == ' ' {
		return text[len(stamp)+1:], true
	}
	first, rest, ok := strings.Cut(text, " ")
	if ok && len(first) >= len("2006-01-02T15:04:05Z") && len(first) <= 35 && first[4] == '-' && first[10] == 'T' && first[13] == ':' {
		return rest, true
	}
	return "", false
}

// rfc5424 reads "TIME HOST APP PROCID MSGID DATA text" after the version.
func (m *message) rfc5424(text string) error {
	var f [5]string
	for i := range f {
		var ok bool
		if f[i], text, ok = strings.Cut(text, " "); !ok || f[i] == "" {
			return errors.New("an RFC 5424 message has six fields before its text")
		}
	}
	rest, err := skipData(text)
	if err != nil {
		return err
	}
	if m.source = f[2]; m.source == "-" {
		m.source = "unknown-app"
	}
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, " "), "\ufeff")
	m.text = []byte(rest)
	return nil
}

// skipData skips structured data: "-", or elements in brackets with values in
// quotes.
func skipData(text string) (string, error) {
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		return rest, nil
	}
	if !strings.HasPrefix(text, "[") {
		return "", errors.New("an RFC 5424 message has structured data, or a dash")
	}
	for strings.HasPrefix(text, "[") {
		end := elementEnd(text)
		if end < 0 {
			return "", errors.New("the structured data of an RFC 5424 message has no end")
		}
		text = text[end+1:]
	}
	return text, nil
}

// elementEnd finds the bracket that closes the one at the text's begin.
func elementEnd(text string) int {
	quoted := false
	for i := 1; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ']' && !quoted:
			return i
		}
	}
	return -1
}

func decodeJSON(b []byte) (message, error) {
	var doc struct{ Version, Level, Src, Message *string }
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&doc); err != nil {
		return message{}, fmt.Errorf("a JSON message: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return message{}, errors.New("a JSON message has something after its object")
	}
	if doc.Version == nil || *doc.Version != "0" {
		return message{}, errors.New(`a JSON message has "version":"0"`)
	}
	if doc.Level == nil || doc.Src == nil || doc.Message == nil {
		return message{}, errors.New(`a JSON message has "level", "src" and "message"`)
	}
	level, err := ParseLevel(*doc.Level)
	return message{source: *doc.Src, level: level, text: []byte(*doc.Message)}, err
}

// decodeKeyValue reads the three pairs in any order. A value in quotes may have
// spaces, and quotes after a backslash.
func decodeKeyValue(text string) (message, error) {
	got := map[string]string{}
	text = strings.TrimRight(text, "\x00")
	for {
		if text = strings.TrimLeft(text, " \t\r\n"); text == "" {
			break
		}
		key, rest, ok := strings.Cut(text, "=")
		key = strings.TrimRight(key, " \t")
		if !ok || key != "level" && key != "src" && key != "message" {
			return message{}, errors.New("a key=value message is made of level=, src= and message=")
		}
		value, rest, err := cutValue(strings.TrimLeft(rest, " \t"))
		if err != nil {
			return message{}, fmt.Errorf("the %s of a key=value message: %w", key, err)
		}
		got[key], text = value, rest
	}
	if len(got) != 3 {
		return message{}, errors.New("a key=value message has level=, src= and message=")
	}
	level, err := ParseLevel(got["level"])
	return message{source: got["src"], level: level, text: []byte(got["message"])}, err
}

func cutValue(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, " \t\r\n")
		if end < 0 {
			end = len(text)
		}
		if end == 0 {
			return "", "", errors.New("no value")
		}
		return text[:end], text[end:], nil
	}
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == '"':
			i++
		case text[i] == '"':
			return strings.ReplaceAll(text[1:i], `\"`, `"`), text[i+1:], nil
		}
	}
	return "", "", errors.New("its quotes have no end")
}

// cut takes the first message off what a stream has sent. final says that
// nothing more is to come with it. n is 0 while a message is not complete, and
// an error means that the stream makes no sense any more.
func cut(b []byte, final bool) (msg []byte, n int, err error) {
	switch {
	case len(b) == 0:
		return nil, 0, nil
	case b[0] == 0 || b[0] == 1: // a binary header, in either order of bytes
		if len(b) < binaryHead {
			if final {
				return nil, 0, io.ErrUnexpectedEOF
			}
			return nil, 0, nil
		}
		_, size, err := binaryHeader(b)
		if err != nil {
			return nil, 0, err
		}
		if n = binaryHead + size; n > len(b) && !final {
			return nil, 0, nil
		}
		n = min(n, len(b))
		return b[:n], n, nil
	case b[0] == '{':
		dec := json.NewDecoder(bytes.NewReader(b))
		var skip json.RawMessage
		if err := dec.Decode(&skip); err == nil {
			n = int(dec.InputOffset())
			return b[:n], n + blank(b[n:]), nil
		}
		if !final {
			return nil, 0, nil
		}
		return b, len(b), nil
	}
	end, next := textEnd(b)
	switch {
	case end >= 0:
		return b[:end], next, nil
	case final:
		return b, len(b), nil
	}
	return nil, 0, nil
}

// blank counts the white space and zero bytes that end a message.
func blank(b []byte) int {
	for i, c := range b {
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			if c == 0 && !(len(b) >= i+binaryHead && b[i+1] == 0) {
				return i + 1
			}
			return i
		}
	}
	return len(b)
}

// textEnd finds the end of a text message: a zero byte, as syslog(3) and
// Python send, or the end of a line that the next message or nothing follows,
// as Go sends. A line's end within a message is part of it.
func textEnd(b []byte) (end, next int) {
	zero := bytes.IndexByte(b, 0)
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 || zero >= 0 && from+i > zero {
			break
		}
		i += from
		if rest := b[i+1:]; len(rest) == 0 || rest[0] == '<' && b[0] == '<' || rest[0] == '{' {
			return i, i + 1
		}
		from = i + 1
	}
	if zero < 0 {
		return -1, 0
	}
	return zero, zero + 1
}
