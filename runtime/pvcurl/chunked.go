package pvcurl

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxChunkLine limits a chunk's size line and each trailer line.
const maxChunkLine = 4 << 10

// chunkReader decodes the chunked coding (RFC 9112 §7.1). Extensions and
// trailers are passed over.
type chunkReader struct {
	r    *bufio.Reader
	left uint64 // of the current chunk
	any  bool   // a chunk was read: its end of line is still to come
	err  error
}

func (c *chunkReader) Read(p []byte) (int, error) {
	for c.err == nil && c.left == 0 {
		c.err = c.next()
	}
	if c.err != nil || len(p) == 0 {
		return 0, c.err
	}
	n, err := c.r.Read(p[:min(uint64(len(p)), c.left)])
	c.left -= uint64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	c.err = err
	return n, err
}

// next reads a size line, or the trailer after the last chunk and then io.EOF.
func (c *chunkReader) next() error {
	if c.any {
		if end, err := c.line(); err != nil {
			return err
		} else if len(end) > 0 {
			return fmt.Errorf("a chunk is followed by %.20q and not by its end", end)
		}
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	size, _, _ := bytes.Cut(line, []byte(";"))
	c.left, err = strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 63)
	if err != nil {
		return fmt.Errorf("%.20q is not the size of a chunk", line)
	}
	c.any = true
	if c.left > 0 {
		return nil
	}
	for range 100 {
		if line, err = c.line(); err != nil {
			return err
		} else if len(line) == 0 {
			return io.EOF
		}
	}
	return errors.New("more than 100 trailer lines")
}

func (c *chunkReader) line() ([]byte, error) {
	var whole []byte
	for {
		part, err := c.r.ReadSlice('\n')
		whole = append(whole, part...)
		switch {
		case len(whole) > maxChunkLine:
			return nil, fmt.Errorf("a chunk's line is longer than %d bytes", maxChunkLine)
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		default:
			return bytes.TrimRight(whole, "\r\n"), nil
		}
	}
}

// writeChunks sends all of r, each read as a chunk, and the end. An error of r
// leaves the body without its end.
func writeChunks(w *bufio.Writer, r io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			fmt.Fprintf(w, "%x\r\n", n)
			w.Write(buf[:n])
			w.WriteString("\r\n")
			if w.Flush() != nil {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			w.WriteString("0\r\n\r\n")
		}
		if err != nil {
			return
		}
	}
}
