package ctrl

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// maxHead is how many bytes a request's head may have, and a chunked body's
// trailer.
const maxHead = 64 << 10

// maxFields is how many fields a head may have. They take more room than they
// took on the wire, for as long as the request does.
const maxFields = 128

// head is a request's first part.
type head struct {
	method string
	target string               // as it was sent
	old    bool                 // HTTP/1.0
	fields textproto.MIMEHeader // those that mean something here
}

// wireError is what the client is told about a request that is not one that
// HTTP, or this server, knows: libevent's error page.
type wireError struct {
	status int
	cause  string
}

func (e *wireError) Error() string { return e.cause }

// errHeadSize is what the connection's reader says when a head is too large.
var errHeadSize = &wireError{http.StatusRequestEntityTooLarge, "the request's head is larger than 64 KiB"}

func malformed(cause string) error { return &wireError{http.StatusBadRequest, cause} }

// readHead reads a request line and header fields, either ending of a line. io.EOF: the
// client sent nothing more. The reader below must limit what is read.
func readHead(br *bufio.Reader) (*head, error) {
	tp := textproto.NewReader(br)
	var line string
	for empty := 0; line == ""; empty++ { // RFC 9112 §2.2: an empty line before a request is ignored
		var err error
		if line, err = tp.ReadLine(); err != nil {
			return nil, err
		}
		if empty == 4 {
			return nil, malformed("there is no request line")
		}
	}
	h, err := requestLine(line)
	if err != nil {
		return nil, err
	}
	h.fields, err = tp.ReadMIMEHeader()
	if err != nil {
		if _, bad := errors.AsType[textproto.ProtocolError](err); bad {
			err = malformed(err.Error())
		}
		return nil, noEOF(err)
	}
	n := 0
	for key, values := range h.fields {
		n += len(values)
		switch key {
		case "Connection", "Content-Length", "Expect", "Host", "If-None-Match", "Last-Event-Id", "Prefer", "Transfer-Encoding":
		default:
			delete(h.fields, key)
		}
	}
	if n > maxFields {
		return nil, &wireError{http.StatusRequestEntityTooLarge, "the request has more than 128 header fields"}
	}
	return h, nil
}

// brief is what a client sent, for the log.
func brief(text string) string {
	if len(text) > 200 {
		return text[:200] + "…"
	}
	return text
}

// requestLine takes "GET /path HTTP/1.0" apart. As with libevent, any minor
// version of HTTP/1 will do; what is later than 1.0 is spoken to as 1.1.
func requestLine(line string) (*head, error) {
	method, rest, _ := strings.Cut(line, " ")
	target, version, ok := strings.Cut(rest, " ")
	minor, http1 := strings.CutPrefix(version, "HTTP/1.")
	n, err := strconv.ParseUint(minor, 10, 8)
	if !ok || !http1 || err != nil || method == "" || target == "" {
		return nil, malformed("the first line is not a request of HTTP/1")
	}
	for i := range len(target) {
		if target[i] < 0x21 || target[i] == 0x7f {
			return nil, malformed("the request's target has a control character")
		}
	}
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete:
	default:
		return nil, &wireError{http.StatusNotImplemented, "the method is none of this API's"}
	}
	return &head{method: method, target: target, old: n == 0}, nil
}

// noEOF: a request that stops early is an error, not an end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// has tells whether a list field has the token, in any case.
func (h *head) has(key, token string) bool {
	for _, v := range h.fields[key] {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// keepAlive is what the client asks for.
func (h *head) keepAlive() bool {
	if h.old {
		return h.has("Connection", "keep-alive")
	}
	return !h.has("Connection", "close")
}

// framing tells how long the body is: -1 for a chunked one.
func (h *head) framing() (size int64, err error) {
	chunked := false
	for _, v := range h.fields["Transfer-Encoding"] {
		for coding := range strings.SplitSeq(v, ",") {
			switch coding = strings.TrimSpace(coding); {
			case strings.EqualFold(coding, "identity"), coding == "": // no coding; pvcontrol sends it
			case strings.EqualFold(coding, "chunked") && !chunked:
				chunked = true
			default:
				return 0, &wireError{http.StatusNotImplemented, "the transfer coding is not implemented"}
			}
		}
	}
	lengths := h.fields["Content-Length"]
	switch {
	case chunked && len(lengths) > 0: // two truths about where the next request starts
		return 0, malformed("the request has a length and chunks")
	case chunked:
		return -1, nil
	}
	for i, v := range lengths {
		n, err := strconv.ParseUint(v, 10, 63)
		if err != nil || i > 0 && int64(n) != size {
			return 0, malformed("the body's length is not a number")
		}
		size = int64(n)
	}
	return size, nil
}

// expects looks at Expect: whether the client waits for "100 Continue" before
// it sends the body. HTTP/1.0 knows no such thing (RFC 9110 §10.1.1).
func (h *head) expects() (bool, error) {
	if h.old || len(h.fields["Expect"]) == 0 {
		return false, nil
	}
	for _, v := range h.fields["Expect"] {
		if !strings.EqualFold(v, "100-continue") {
			return false, &wireError{http.StatusExpectationFailed, "the request expects what is not known"}
		}
	}
	return true, nil
}

// local tells whether a request is for this server: the host, in the target or
// in the field, is absent, empty, or localhost with any port. It is what keeps
// a web page's request from another name out.
func (h *head) local() bool {
	host, _, inTarget := authority(h.target)
	if inTarget {
		return localhost(host)
	}
	for _, v := range h.fields["Host"] {
		if !localhost(v) {
			return false
		}
	}
	return true
}

func localhost(host string) bool {
	name, port, has := strings.Cut(host, ":")
	if has && strings.Trim(port, "0123456789") != "" {
		return false
	}
	return name == "" || name == "localhost"
}

// authority splits a target that names a host: "http://host/path", and
// "//host/path", which libevent reads in the same way.
func authority(target string) (host, path string, ok bool) {
	rest := target
	if !strings.HasPrefix(rest, "/") {
		scheme, after, found := strings.Cut(rest, ":")
		if !found || !strings.HasPrefix(after, "//") || strings.ContainsAny(scheme, "/?#") {
			return "", target, false
		}
		rest = after
	}
	rest, ok = strings.CutPrefix(rest, "//")
	if !ok {
		return "", target, false
	}
	i := strings.IndexAny(rest, "/?#")
	if i < 0 {
		return rest, "", true
	}
	return rest[:i], rest[i:], true
}
