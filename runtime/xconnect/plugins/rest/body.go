package rest

import (
	"bytes"
	"errors"
	"io"
	"strconv"
)

const (
	maxChunkLine = 4 << 10
	maxTrailers  = 16 << 10
)

// errCut says that a request ended before its body did. The provider has part
// of it: the connection is cut rather than ended, so that it does not look
// complete.
var errCut = errors.New("the request ended within its body")

// body moves the request's body to w.
func (f framing) body(r *reader, w io.Writer) error {
	if f.chunked {
		return chunks(r, w)
	}
	return exactly(r, w, f.length)
}

func exactly(r *reader, w io.Writer, n int64) error {
	for n > 0 {
		b := r.buffered()
		if len(b) == 0 {
			if err := more(r); err != nil {
				return err
			}
			continue
		}
		b = b[:min(int64(len(b)), n)]
		if _, err := w.Write(b); err != nil {
			return err
		}
		n -= int64(len(b))
		r.discard(len(b))
	}
	return nil
}

func more(r *reader) error {
	err := r.fill()
	if err == io.EOF {
		return errCut
	}
	return err
}

// chunks moves a chunked body: RFC 9112 §7.1. Sizes are written anew, without
// extensions; every line must end with CRLF here.
func chunks(r *reader, w io.Writer) error {
	for {
		l, err := strictLine(r, maxChunkLine)
		if err != nil {
			return err
		}
		n, err := chunkSize(l)
		if err != nil {
			return err
		}
		r.discard(len(l) + 2)
		if n == 0 {
			return trailers(r, w)
		}
		if _, err := io.WriteString(w, strconv.FormatInt(n, 16)+"\r\n"); err != nil {
			return err
		}
		if err := exactly(r, w, n); err != nil {
			return err
		}
		if l, err = strictLine(r, maxChunkLine); err != nil {
			return err
		}
		if len(l) != 0 {
			return bad("a chunk is longer than its size")
		}
		r.discard(2)
		if _, err := io.WriteString(w, "\r\n"); err != nil {
			return err
		}
	}
}

// strictLine returns the next line, which must end with CRLF, without taking it.
func strictLine(r *reader, limit int) ([]byte, error) {
	for {
		b := r.buffered()
		if i := bytes.IndexByte(b, '\n'); i >= 0 && i <= limit {
			if i == 0 || b[i-1] != '\r' || bytes.IndexByte(b[:i-1], '\r') >= 0 {
				return nil, bad("a line of a chunked body does not end with CRLF")
			}
			return b[:i-1], nil
		}
		if len(b) > limit {
			return nil, bad("a line of a chunked body is too long")
		}
		if err := more(r); err != nil {
			return nil, err
		}
	}
}

func chunkSize(l []byte) (int64, error) {
	digits, ext, _ := bytes.Cut(l, []byte(";"))
	digits = bytes.TrimRight(digits, " \t")
	for _, c := range ext {
		if c < ' ' && c != '\t' || c == 0x7f {
			return 0, bad("a chunk extension has a control character")
		}
	}
	if len(digits) == 0 || len(digits) > 15 {
		return 0, bad("a chunk has no usable size")
	}
	n, err := strconv.ParseUint(string(digits), 16, 63)
	if err != nil || digits[0] == '+' {
		return 0, bad("the chunk size %q is not a number", digits)
	}
	return int64(n), nil
}

// trailers passes the fields after the last chunk, those that claim an identity
// or a framing left out: some servers merge them with the header.
func trailers(r *reader, w io.Writer) error {
	out := []byte("0\r\n")
	for {
		l, err := strictLine(r, maxChunkLine)
		if err != nil {
			return err
		}
		if len(l) == 0 {
			r.discard(2)
			_, err := w.Write(append(out, "\r\n"...))
			return err
		}
		name, value, err := splitField(l)
		if err != nil {
			return err
		}
		if !claimsIdentity(name) && !is(name, "content-length") && !is(name, "transfer-encoding") {
			out = append(append(out, name...), ": "...)
			out = append(append(out, value...), "\r\n"...)
		}
		if len(out) > maxTrailers {
			return bad("the trailers are too large")
		}
		r.discard(len(l) + 2)
	}
}
