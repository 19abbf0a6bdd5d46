package ctrl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

func getObjects(s *Server, r *request) (*reply, error) {
	return list(s.o.Backend.Objects.Objects(r.ctx))
}

// shaLength is the length of an object's name.
const shaLength = 64

// digest tells whether the name can be an object's.
func digest(name string) bool {
	return len(name) == shaLength && strings.Trim(name, "0123456789abcdef") == ""
}

func getObject(s *Server, r *request) (*reply, error) {
	if !digest(r.names[0]) {
		return nil, badObject
	}
	f, err := s.o.Backend.Objects.OpenObject(r.ctx, r.names[0])
	if err != nil {
		return nil, err
	}
	return &reply{
		status: http.StatusOK,
		fields: []field{{"content-type", "application/octet-stream"}},
		stream: func(w *stream) error {
			_, err := io.Copy(w, f)
			return errors.Join(err, f.Close())
		},
	}, nil
}

func putObject(s *Server, r *request) (*reply, error) {
	name := r.names[0]
	switch {
	case len(name) != shaLength:
		return nil, badObject
	case !digest(name): // no bytes have such a digest
		return nil, ErrBadObject
	}
	if r.body.size > 0 {
		s.o.Log.Debug(fmt.Sprintf("incoming data: %d bytes", r.body.size))
	}
	if err := s.o.Backend.Objects.PutObject(r.ctx, name, r.body.size, r.body); err != nil {
		return nil, err
	}
	// One that was stored already need not have been read, but a client of
	// HTTP/1.0 sends all of it, and fails when it cannot.
	if _, err := io.Copy(io.Discard, r.body); err != nil {
		return nil, err
	}
	s.o.Log.Debug("upload done, object " + name)
	return ok(), nil
}

// maxRevName is how many characters a local revision's name may have.
const maxRevName = 64

// revision gives the name that the path stands for.
func (r *request) revision() (rev string, valid bool) {
	name := r.names[0]
	if name == "." || name == ".." || strings.ContainsAny(name, "\x00\\") {
		return name, false
	}
	if strings.HasPrefix(r.route.Path, "/steps/locals/") {
		return "locals/" + name, len(name) <= maxRevName
	}
	return name, true
}

// getSteps writes the blanks that upstream writes.
func getSteps(s *Server, r *request) (*reply, error) {
	all, err := s.o.Backend.Steps.Steps(r.ctx)
	if err != nil {
		return nil, err
	}
	buf := []byte{'['}
	for i, step := range all {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = quote(append(buf, `{"name":`...), step.Name)
		buf = quote(append(buf, `, "date":`...), step.Date)
		buf = quote(append(buf, `, "commitmsg":`...), step.CommitMsg)
		buf = append(buf, `, "progress":`...)
		if json.Valid(step.Progress) {
			buf = append(buf, step.Progress...)
		} else {
			buf = append(buf, "{}"...)
		}
		buf = append(buf, '}')
	}
	return document(append(buf, ']')), nil
}

func getStep(s *Server, r *request) (*reply, error) {
	rev, valid := r.revision()
	if !valid {
		return nil, ErrNotFound
	}
	text, err := s.o.Backend.Steps.Step(r.ctx, rev)
	return document(text), err
}

func getProgress(s *Server, r *request) (*reply, error) {
	rev, valid := r.revision()
	if !valid {
		return nil, ErrNotFound
	}
	text, err := s.o.Backend.Steps.StepProgress(r.ctx, rev)
	return document(text), err
}

func putStep(s *Server, r *request) (*reply, error) {
	rev, valid := r.revision()
	if !valid {
		return nil, badStep
	}
	if r.body.size > r.route.Limit {
		return nil, ErrNoSpace
	}
	if r.body.size < 0 || r.body.size > largeState { // it is held in memory as a whole
		wait := time.NewTimer(s.o.PaceTime)
		defer wait.Stop()
		select {
		case s.states <- struct{}{}:
			defer func() { <-s.states }()
		case <-wait.C:
			return nil, errBusy
		case <-r.ctx.Done():
			return nil, r.ctx.Err()
		}
	}
	text, err := r.body.all(r.route.Limit)
	if err != nil {
		return nil, err
	}
	return done(s.o.Backend.Steps.PutStep(r.ctx, rev, text))
}

func putCommitMsg(s *Server, r *request) (*reply, error) {
	rev, valid := r.revision()
	if !valid {
		return nil, badStep
	}
	text, err := r.body.all(r.route.Limit)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, errNoCommitMsg
	}
	return done(s.o.Backend.Steps.PutCommitMsg(r.ctx, rev, string(text)))
}

// metaOf has the handlers for the "user" or the "device".
type metaOf string

func (m metaOf) in(s *Server) Meta {
	if m == "user" {
		return s.o.Backend.UserMeta
	}
	return s.o.Backend.DeviceMeta
}

func (m metaOf) get(s *Server, r *request) (*reply, error) {
	all, err := m.in(s).Meta(r.ctx)
	if err != nil {
		return nil, err
	}
	return document(encodeMeta(all)), nil
}

// encodeMeta writes the entries in their order. A value that is a JSON object
// or array is one in the document; any other one is a string.
func encodeMeta(all []pvctrl.MetaEntry) []byte {
	buf := []byte{'{'}
	for _, e := range all {
		if e.Value == "" {
			continue
		}
		if len(buf) > 1 {
			buf = append(buf, ',')
		}
		buf = append(quote(buf, e.Key), ':')
		value := []byte(e.Value)
		if start := bytes.TrimLeft(value, " \t\r\n"); len(start) > 0 && (start[0] == '{' || start[0] == '[') && json.Valid(value) {
			buf = append(buf, value...)
		} else {
			buf = quote(buf, e.Value)
		}
	}
	return append(buf, '}')
}

func (m metaOf) put(s *Server, r *request) (*reply, error) {
	// Without a value, or under a name that is no file's: status 400.
	refused := failed(http.StatusBadRequest, r.route.Failed.Text)
	key := r.names[0]
	if key == "." || key == ".." {
		return nil, refused
	}
	text, err := r.body.all(r.route.Limit)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, refused
	}
	return done(m.in(s).PutMeta(r.ctx, key, string(text)))
}

func (m metaOf) remove(s *Server, r *request) (*reply, error) {
	key := r.names[0]
	if key == "." || key == ".." {
		return nil, ErrNotFound
	}
	return done(m.in(s).DeleteMeta(r.ctx, key))
}
