package pvctrltest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/pvcurl"
	"github.com/pvkit/pvkit/runtime/testreport"
)

const (
	answerTime = 60 * time.Second // a stop can hold upstream's server for 5 s
	maxReply   = 64 << 20
	maxShown   = 600 // bytes of a body that evidence keeps
	pollEvery  = 200 * time.Millisecond
)

// probe asks a server and keeps what it saw.
type probe struct {
	Options
	client   pvcurl.Client
	evidence testreport.Evidence

	large     []byte // the object of tests 13 and 14
	undo      []func(context.Context) error
	revisions []string // that were put
	objects   int      // that were put
}

func newProbe(o Options) *probe {
	o.Provider = cmp.Or(o.Provider, "pv-example-unix-server")
	o.Consumer = cmp.Or(o.Consumer, "pv-example-unix-client")
	return &probe{Options: o, client: pvcurl.Client{Socket: o.Socket, ConnectTimeout: 5 * time.Second}}
}

// reply is a whole answer.
type reply struct {
	status int
	kind   string // Content-Type
	body   []byte
	retry  string // Retry-After
}

// ask sends a request and keeps it as evidence.
func (p *probe) ask(ctx context.Context, req pvcurl.Request) (*reply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("no answer within %v", answerTime))
	defer cancel()
	if req.Method == "" {
		req.Method = "GET"
	}
	x := Exchange{Request: req.Method + " " + req.Path}
	if b, ok := req.Body.(*bytes.Reader); ok {
		text := make([]byte, min(b.Len(), maxShown+1))
		b.ReadAt(text, 0)
		x.Body = shown(text)
	}
	r, err := p.send(ctx, req)
	if err != nil {
		x.Error = err.Error()
	} else {
		x.Status, x.Type, x.Reply = r.status, r.kind, shown(r.body)
	}
	p.evidence.Add(x)
	return r, err
}

func (p *probe) send(ctx context.Context, req pvcurl.Request) (*reply, error) {
	resp, err := p.client.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", req.Method, req.Path, err)
	}
	return &reply{resp.Status, resp.Header("Content-Type"), body, resp.Header("Retry-After")}, nil
}

// shown is a body as text, cut.
func shown(b []byte) string {
	if !utf8.Valid(b[:min(len(b), maxShown/2)]) && bytes.IndexByte(b, 0) >= 0 {
		return fmt.Sprintf("(%d bytes)", len(b))
	}
	if len(b) > maxShown {
		return strings.ToValidUTF8(string(b[:maxShown]), "?") + "…"
	}
	return strings.ToValidUTF8(string(b), "?")
}

func (p *probe) get(ctx context.Context, path string) (*reply, error) {
	return p.ask(ctx, pvcurl.Request{Method: "GET", Path: path})
}

func (p *probe) with(ctx context.Context, method, path, body string) (*reply, error) {
	return p.ask(ctx, pvcurl.Request{Method: method, Path: path, Body: bytes.NewReader([]byte(body)), Size: int64(len(body))})
}

// is checks the status and, where kind is given, the content type.
func (r *reply) is(status int, kind string) error {
	if r.status != status {
		return fmt.Errorf("the status is %d and should be %d: %s", r.status, status, shown(r.body))
	}
	if got, _, _ := strings.Cut(r.kind, ";"); kind != "" && got != kind {
		return fmt.Errorf("the content type is %q and should be %s", r.kind, kind)
	}
	return nil
}

// refused checks an error document.
func (r *reply) refused(status int, text string) error {
	if err := r.is(status, ""); err != nil {
		return err
	}
	var doc struct{ Error *string }
	if err := json.Unmarshal(r.body, &doc); err != nil || doc.Error == nil {
		return fmt.Errorf("the answer is not {\"Error\":…}: %s", shown(r.body))
	}
	if *doc.Error != text {
		return fmt.Errorf("the error is %q and should be %q", *doc.Error, text)
	}
	return nil
}

// done asks for something that a 200 without a body answers.
func (p *probe) done(ctx context.Context, method, path, body string) error {
	r, err := p.with(ctx, method, path, body)
	if err != nil {
		return err
	}
	if err := r.is(200, ""); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if len(r.body) > 0 {
		return fmt.Errorf("%s %s: the answer has a body and should have none: %s", method, path, shown(r.body))
	}
	return nil
}

// list reads a page that is a JSON array or object.
func list[T any](ctx context.Context, p *probe, path string) (T, error) {
	var v T
	r, err := p.get(ctx, path)
	if err != nil {
		return v, err
	}
	if err := r.is(200, "application/json"); err != nil {
		return v, fmt.Errorf("GET %s: %w", path, err)
	}
	if err := json.Unmarshal(r.body, &v); err != nil {
		return v, fmt.Errorf("GET %s: %w: %s", path, err, shown(r.body))
	}
	return v, nil
}

// eventually asks until cond says nil, at most for the patience.
func (p *probe) eventually(ctx context.Context, cond func() error) error {
	deadline := time.Now().Add(p.Patience)
	for {
		err := cond()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pollEvery):
		}
	}
}

// errBusy is a server that stays at 503.
var errBusy = errors.New("the server stays busy")

// command sends a command, again while the server is busy with the one before.
func (p *probe) command(ctx context.Context, op, payload string) error {
	body, err := json.Marshal(pvctrl.Command{Op: op, Payload: payload})
	if err != nil {
		return err
	}
	var fatal error
	err = p.eventually(ctx, func() error {
		r, err := p.with(ctx, "POST", "/commands", string(body))
		if err != nil {
			fatal = err
			return nil
		}
		if r.status == 503 {
			if r.retry == "" {
				fatal = errors.New("a 503 has no Retry-After")
				return nil
			}
			return fmt.Errorf("%s: %w: %s", op, errBusy, shown(r.body))
		}
		fatal = r.is(200, "")
		return nil
	})
	if fatal != nil {
		return fmt.Errorf("%s: %w", op, fatal)
	}
	return err
}

// later is done when all tests have run, the last one first.
func (p *probe) later(f func(context.Context) error) { p.undo = append(p.undo, f) }

// cleanUp gives back what the tests took and says what is left.
func (p *probe) cleanUp(ctx context.Context, collect bool) (left []string) {
	p.evidence = nil
	for i := len(p.undo) - 1; i >= 0; i-- {
		if err := p.undo[i](ctx); err != nil {
			left = append(left, err.Error())
		}
	}
	p.undo = nil
	if collect && (len(p.revisions) > 0 || p.objects > 0) {
		if err := p.collectGarbage(ctx); err != nil {
			left = append(left, err.Error())
		} else {
			return left
		}
	}
	for _, rev := range p.revisions {
		left = append(left, "revision "+rev+", until garbage is collected")
	}
	if p.objects > 0 {
		left = append(left, fmt.Sprintf("%d objects that no revision needs, until garbage is collected", p.objects))
	}
	return left
}

// collectGarbage asks for it and waits, or sends the command that older servers
// know.
func (p *probe) collectGarbage(ctx context.Context) error {
	r, err := p.with(ctx, "POST", "/storage/gc", "")
	if err == nil && r.status == 200 {
		return nil
	}
	if err := p.command(ctx, "RUN_GC", ""); err != nil {
		return fmt.Errorf("collect garbage: %w", err)
	}
	return nil
}
