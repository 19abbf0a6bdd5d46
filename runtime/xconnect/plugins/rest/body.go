package rest

import (
	"bytes"
	"strconv"
)

const (
	maxChunkLine = 4 << 10
	maxTrailers  = 16 << 10
)

// A chunked body: RFC 9112 §7.1. Sizes are written anew, without extensions;
// every line must end with CRLF here.

// size reads the line before a chunk.
func (s *session) size(dst, in []byte) (out []byte, used int, err error) {
	l, used, err := strictLine(in)
	if used == 0 {
		return dst, 0, err
	}
	n, err := chunkSize(l)
	if err != nil {
		return nil, 0, err
	}
	if s.left = n; n == 0 {
		s.at, s.trailers = inTrailers, 0
		return append(dst, "0\r\n"...), used, nil
	}
	s.at = inChunk
	return append(strconv.AppendInt(dst, n, 16), "\r\n"...), used, nil
}

// chunkEnd reads the line end after a chunk.
func (s *session) chunkEnd(dst, in []byte) (out []byte, used int, err error) {
	l, used, err := strictLine(in)
	switch {
	case used == 0:
		return dst, 0, err
	case len(l) != 0:
		return nil, 0, bad("a chunk is longer than its size")
	}
	s.at = inSize
	return append(dst, "\r\n"...), used, nil
}

// trailer passes a field after the last chunk on, unless it claims an identity
// or a framing: some servers merge trailers with the header.
func (s *session) trailer(dst, in []byte) (out []byte, used int, err error) {
	l, used, err := strictLine(in)
	switch {
	case used == 0:
		return dst, 0, err
	case len(l) == 0:
		s.end()
		return append(dst, "\r\n"...), used, nil
	}
	name, value, err := splitField(l)
	if err != nil {
		return nil, 0, err
	}
	if s.trailers += used; s.trailers > maxTrailers {
		return nil, 0, bad("the trailers are too large")
	}
	if !claimsIdentity(name) && !is(name, "content-length") && !is(name, "transfer-encoding") {
		dst = append(append(dst, name...), ": "...)
		dst = append(append(dst, value...), "\r\n"...)
	}
	return dst, used, nil
}

// strictLine returns the next line, which must end with CRLF, without its end;
// used is 0 if it is not complete.
func strictLine(in []byte) (l []byte, used int, err error) {
	i := bytes.IndexByte(in, '\n')
	switch {
	case i > maxChunkLine, i < 0 && len(in) > maxChunkLine:
		return nil, 0, bad("a line of a chunked body is too long")
	case i < 0:
		return nil, 0, nil
	case i == 0 || in[i-1] != '\r' || bytes.IndexByte(in[:i-1], '\r') >= 0:
		return nil, 0, bad("a line of a chunked body does not end with CRLF")
	}
	return in[:i-1], i + 1, nil
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
