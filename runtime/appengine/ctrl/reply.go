package ctrl

import (
	"bufio"
	"net/http"
	"strconv"
	"time"
)

// field is a header field of a reply. Replies keep the order and the case in
// which upstream writes them.
type field struct{ key, value string }

// reply is what a request is answered with.
type reply struct {
	status int
	fields []field
	modern []field // only for HTTP/1.1: a reply to 1.0 has no field that its clients do not know
	body   []byte
	stream func(w *stream) error // instead of the body; its length is not known
}

const (
	typeJSON = "application/json"
	// wireText is the body of an error below the endpoints.
	wireText = `{"Error": "Unsupported protocol"}`
)

// ok is a success without data.
func ok() *reply { return &reply{status: http.StatusOK, fields: []field{{"Content-Type", typeJSON}}} }

// document is a success with data.
func document(text []byte) *reply {
	r := ok()
	r.body = text
	return r
}

// refusal writes an error as upstream does, but with its text escaped.
func refusal(e *Error) *reply {
	r := &reply{status: e.Status}
	if e.RetryAfter > 0 {
		r.fields = append(r.fields, field{"Retry-After", strconv.Itoa(e.RetryAfter)})
	}
	r.fields = append(r.fields, field{"Content-Type", typeJSON})
	if e.Status != http.StatusNoContent {
		r.body = append(quote([]byte(`{"Error":`), e.Text), '}')
	}
	return r
}

// statusText is http.StatusText but for the name that upstream gives.
func statusText(status int) string {
	if status == http.StatusUnprocessableEntity {
		return "Unprocessable Content"
	}
	return http.StatusText(status)
}

// begin writes the head of a reply, and its body if it is no stream, into one
// buffer: there are clients that take what their first read returns for the
// whole reply. keep tells whether the connection goes on after it.
func (r *reply) begin(h *head, keep bool, now time.Time) []byte {
	buf := make([]byte, 0, 256+len(r.body))
	version := "HTTP/1.1 "
	if h.old {
		version = "HTTP/1.0 "
	}
	buf = append(strconv.AppendInt(append(buf, version...), int64(r.status), 10), ' ')
	buf = append(append(buf, statusText(r.status)...), "\r\n"...)
	for _, f := range r.fields {
		buf = appendField(buf, f.key, f.value)
	}
	bodyless := r.status == http.StatusNoContent || r.status == http.StatusNotModified
	switch {
	case h.old && keep:
		buf = appendField(buf, "Connection", "keep-alive")
	case !h.old:
		for _, f := range r.modern {
			buf = appendField(buf, f.key, f.value)
		}
		if r.stream != nil {
			buf = appendField(buf, "Transfer-Encoding", "chunked")
		}
		buf = appendField(buf, "Date", now.UTC().Format(http.TimeFormat))
	}
	if (keep || !h.old) && r.stream == nil && !bodyless {
		buf = appendField(buf, "Content-Length", strconv.Itoa(len(r.body)))
	}
	if !h.old && !keep {
		buf = appendField(buf, "Connection", "close")
	}
	buf = append(buf, "\r\n"...)
	// A body after the head of a reply to HEAD would be read as the next reply.
	// Without another reply it does no harm, and upstream sends it.
	if h.method == http.MethodHead && !h.old || bodyless {
		return buf
	}
	return append(buf, r.body...)
}

func appendField(buf []byte, key, value string) []byte {
	buf = append(append(buf, key...), ": "...)
	return append(append(buf, value...), "\r\n"...)
}

// wireReply is libevent's page for a request that it does not serve. It is in
// HTTP/1.1 whatever the request was in, and ends the connection.
func wireReply(status int, now time.Time) []byte {
	buf := []byte("HTTP/1.1 " + strconv.Itoa(status) + " " + statusText(status) + "\r\n")
	buf = appendField(buf, "Content-Type", "text/html")
	buf = appendField(buf, "Connection", "close")
	buf = appendField(buf, "Date", now.UTC().Format(http.TimeFormat))
	buf = appendField(buf, "Content-Length", strconv.Itoa(len(wireText)))
	return append(append(buf, "\r\n"...), wireText...)
}

// pieceSize is the size of the pieces of an object, which are the chunks on
// HTTP/1.1.
const pieceSize = 4096

// chunkWriter writes pieces as chunks. Nothing arrives before a flush of w.
type chunkWriter struct{ w *bufio.Writer }

func (c chunkWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		piece := rest[:min(len(rest), pieceSize)]
		size := strconv.AppendInt(c.w.AvailableBuffer(), int64(len(piece)), 16)
		if _, err := c.w.Write(append(size, "\r\n"...)); err != nil {
			return 0, err
		}
		if _, err := c.w.Write(piece); err != nil {
			return 0, err
		}
		if _, err := c.w.WriteString("\r\n"); err != nil {
			return 0, err
		}
		rest = rest[len(piece):]
	}
	return len(p), nil
}

// end writes the last chunk.
func (c chunkWriter) end() error {
	_, err := c.w.WriteString("0\r\n\r\n")
	return err
}
