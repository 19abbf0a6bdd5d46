package kas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// ParseJSON reads a document as Python's json.load does: the last of equal
// keys wins at the place of the first. The error is a *SyntaxError.
func ParseJSON(name string, src []byte) (*Value, error) {
	if len(src) > MaxFileSize {
		return nil, &SyntaxError{Pos: diag.Position{File: name}, Msg: fmt.Sprintf("the file is larger than %d bytes", MaxFileSize)}
	}
	p := &jsonReader{name: name, src: bytes.TrimPrefix(src, []byte("\ufeff")), line: 1}
	p.dec = json.NewDecoder(bytes.NewReader(p.src))
	p.dec.UseNumber()
	v, err := p.value(0)
	if err == nil {
		if _, e := p.dec.Token(); !errors.Is(e, io.EOF) {
			err = p.errorf("text behind the end of the document")
		}
	}
	return v, err
}

type jsonReader struct {
	name string
	src  []byte
	dec  *json.Decoder
	off  int // up to which line and start are counted
	line int
	from int // where the line begins
}

// pos is the place of the next token.
func (p *jsonReader) pos() diag.Position {
	at := int(p.dec.InputOffset())
	for at < len(p.src) && strings.IndexByte(" \t\r\n,:", p.src[at]) >= 0 {
		at++
	}
	for ; p.off < at; p.off++ {
		if p.src[p.off] == '\n' {
			p.line++
			p.from = p.off + 1
		}
	}
	return diag.Position{File: p.name, Line: p.line, Col: at - p.from + 1}
}

func (p *jsonReader) errorf(format string, args ...any) error {
	return &SyntaxError{Pos: p.pos(), Msg: "not valid JSON: " + fmt.Sprintf(format, args...)}
}

func (p *jsonReader) value(depth int) (*Value, error) {
	if depth > maxNesting {
		return nil, p.errorf("nested deeper than %d levels", maxNesting)
	}
	pos := p.pos()
	tok, err := p.dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the document ends too early")
		}
		return nil, p.errorf("%v", err)
	}
	v := &Value{Pos: pos, size: 1}
	switch t := tok.(type) {
	case json.Delim:
		if t == '[' {
			return v, p.list(v, depth)
		}
		if t == '{' {
			return v, p.object(v, depth)
		}
		return nil, p.errorf("%q has no place here", t)
	case nil:
		v.Kind = Null
	case bool:
		v.Kind, v.Text = Bool, strconv.FormatBool(t)
	case string:
		v.Kind, v.Text = String, t
	case json.Number:
		return v, p.number(v, string(t))
	}
	return v, nil
}

func (p *jsonReader) number(v *Value, s string) error {
	if !strings.ContainsAny(s, ".eE") {
		n, ok := new(big.Int).SetString(s, 10)
		if !ok || len(s) > maxDigits {
			return p.errorf("not an integer that Python reads")
		}
		v.Kind, v.Text = Int, n.String()
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return p.errorf("%q is not a number", s)
	}
	v.Kind, v.Text = Float, pyFloat(f)
	return nil
}

func (p *jsonReader) list(v *Value, depth int) error {
	v.Kind = List
	for p.dec.More() {
		item, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		v.Items = append(v.Items, item)
		v.size += item.size
	}
	if _, err := p.dec.Token(); err != nil {
		return p.errorf("the list does not end: %v", err)
	}
	return nil
}

func (p *jsonReader) object(v *Value, depth int) error {
	v.Kind = Map
	for p.dec.More() {
		key, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		w, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		e := &Entry{Key: key, Value: w}
		if old := v.findEntry(key); old != nil {
			// The list grows in place: old goes.
			old.Dropped = append(old.Dropped, &Entry{Key: old.Key, Value: old.Value})
			e.Dropped = old.Dropped
			e.at = key
		}
		v.put(e)
		v.size += 1 + w.size
	}
	if _, err := p.dec.Token(); err != nil {
		return p.errorf("the mapping does not end: %v", err)
	}
	return nil
}
