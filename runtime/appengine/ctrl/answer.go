package ctrl

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// answer finds the route, checks the caller, the method and the role, in this
// order, and asks the handler. Other than upstream it always gives one reply.
func (s *Server) answer(c *conn, h *head, b *body) *reply {
	c.welcome = false
	routes, names := s.routes.find(h.target)
	if len(routes) == 0 {
		return refusal(failed(http.StatusBadRequest, "unknown endpoint: "+h.target))
	}
	open := routes[0].open()
	caller, err := s.caller(c.peer)
	if err != nil {
		s.o.Log.Warn("a request from nobody", "target", brief(h.target), "error", err)
		if open {
			return refusal(failed(http.StatusInternalServerError, "Internal error, unknown caller"))
		}
		return refusal(internal)
	}
	i := slices.IndexFunc(routes, func(r *Route) bool { return r.Method == h.method })
	if i < 0 {
		return refusal(failed(http.StatusBadRequest, "Method not supported for this endpoint"))
	}
	route := routes[i]
	if route.Access == Mgmt && !caller.Mgmt {
		text := "Request not sent from a mgmt platform"
		if open {
			text = "Request not sent from mgmt platform"
		}
		return refusal(failed(http.StatusForbidden, text))
	}
	c.welcome = true
	r, err := route.handle(s, &request{c.ctx, route, names, caller, h, b, c})
	if err == nil {
		return r
	}
	e := route.refuse(err)
	log := s.o.Log.Debug
	switch _, state := errors.AsType[*StateError](err); {
	case e == route.Failed:
		log = s.o.Log.Error
	case state:
		log = s.o.Log.Warn // the reply says that it is wrong, and only the log what
	}
	log("a request is refused", "caller", caller.Name, "method", h.method, "target", brief(h.target), "status", e.Status, "error", err)
	return refusal(e)
}

// refuse gives the documented reply for what a handler or the backend says.
func (r *Route) refuse(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*StateError](err); ok {
		return failed(http.StatusUnprocessableEntity, e.Text)
	}
	switch {
	case errors.Is(err, ErrNotFound) && r.Missing != nil:
		return r.Missing
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return ErrNoSpace
	}
	return r.Failed
}

// quote writes a JSON string. Of what JSON lets through only printable
// characters stay; others, and bytes that are no UTF-8, become \u00XX in
// capitals, as upstream writes them.
func quote(buf []byte, text string) []byte {
	buf = append(buf, '"')
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if r == '"' || r == '\\' || r < 0x20 || r == 0x7f || r == utf8.RuneError && n == 1 {
			buf = append(buf, `\u00`...)
			if text[i] < 0x10 {
				buf = append(buf, '0')
			}
			start := len(buf)
			buf = strconv.AppendUint(buf, uint64(text[i]), 16)
			for j := start; j < len(buf); j++ {
				if buf[j] >= 'a' {
					buf[j] -= 'a' - 'A'
				}
			}
		} else {
			buf = append(buf, text[i:i+n]...)
		}
		i += n
	}
	return append(buf, '"')
}
