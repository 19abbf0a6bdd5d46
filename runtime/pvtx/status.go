package pvtx

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/pvkit/pvkit/pvrexport"
)

// Phase is where a transaction is. The picture:
//
//	none ──Begin──▶ active ──Commit──▶ committed
//	 │               ▲   └───Deploy──▶ deployed
//	 └─NewQueue─▶ queue ─Begin┘
//
// Abort leads from everywhere to none; Begin and NewQueue start from committed
// and deployed as they do from none.
type Phase string

// The phases.
const (
	None      Phase = ""
	Queueing  Phase = "queue"
	Active    Phase = "active"
	Committed Phase = "committed"
	Deployed  Phase = "deployed"
)

// Status is what a transaction is about.
type Status struct {
	Phase    Phase  `json:"phase"`
	Objects  string `json:"objects,omitempty"`  // the objects' directory; "" is the remote kind
	Queue    string `json:"queue,omitempty"`    // the queue's directory, "" for none
	Revision string `json:"revision,omitempty"` // what Commit made, or where Deploy put it
}

// Local reports whether objects go to a directory and Deploy ends the
// transaction; otherwise they go to pv-ctrl and Commit does.
func (s Status) Local() bool { return s.Objects != "" }

// record is what the file holds.
type record struct {
	Spec string `json:"#spec"`
	Status
	State json.RawMessage `json:"state,omitempty"`
}

const (
	recordSpec = "pvkit-tx@1"
	// maxRecord bounds the file: the state and four paths.
	maxRecord = pvrexport.MaxStateSize + 64<<10
)

// ErrStatus is a transaction's file that cannot be read.
var ErrStatus = errors.New("the transaction's file is damaged")

// DecodeStatus reads a transaction's file. The state is nil in the phases that
// have none.
func DecodeStatus(r io.Reader) (Status, *pvrexport.State, error) {
	bad := func(format string, a ...any) (Status, *pvrexport.State, error) {
		return Status{}, nil, fmt.Errorf("%w: %w", ErrStatus, fmt.Errorf(format, a...))
	}
	src, err := io.ReadAll(io.LimitReader(r, maxRecord+1))
	if err != nil {
		return Status{}, nil, err
	}
	if len(src) > maxRecord {
		return bad("larger than %d bytes", maxRecord)
	}
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.DisallowUnknownFields()
	var rec record
	if err := dec.Decode(&rec); err != nil {
		return bad("%w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bad("data after the end")
	}
	if rec.Spec != recordSpec {
		return bad("#spec is %q, not %q", rec.Spec, recordSpec)
	}
	for _, dir := range []string{rec.Objects, rec.Queue} {
		if dir != "" && !filepath.IsAbs(dir) {
			return bad("%q is not an absolute path", dir)
		}
	}
	if rec.Queue != "" && rec.Objects == "" {
		return bad("a queue without a directory for objects")
	}
	switch rec.Phase {
	case Queueing, Committed, Deployed:
		if rec.State != nil {
			return bad("a state in phase %q", rec.Phase)
		}
		return rec.Status, nil, nil
	case Active:
		state, err := pvrexport.DecodeState(bytes.NewReader(rec.State))
		if err != nil {
			return bad("%w", err)
		}
		return rec.Status, state, nil
	}
	return bad("no phase is called %q", rec.Phase)
}

// EncodeStatus is the reverse of DecodeStatus.
func EncodeStatus(s Status, state *pvrexport.State) ([]byte, error) {
	rec := record{Spec: recordSpec, Status: s}
	if state != nil {
		rec.State = state.Encode()
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(rec); err != nil {
		return nil, fmt.Errorf("encode the transaction: %w", err)
	}
	return buf.Bytes(), nil
}
