package ctrltest

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the captures
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

//go:embed testdata/captures.jsonl.gz
var captures []byte

// Capture is a request that was sent to upstream's appengine, and the whole of
// what came back on the connection.
type Capture struct {
	Test       string   `json:"test"` // of the test plan
	Note       string   `json:"note"`
	Request    Request  `json:"request"`
	StatusLine string   `json:"status_line"` // of the first reply; "" when none came
	Headers    []string `json:"headers"`
	Body       string   `json:"body"` // all that follows the first head, or a text in angles about it
	End        string   `json:"end"`
	Caller     string   `json:"caller"`

	Index int `json:"-"` // its place in the file, from 0
}

// Request is a capture's first half.
type Request struct {
	Method  string             `json:"method"`
	Path    string             `json:"path"`
	Version string             `json:"version"`
	Headers map[string]*string `json:"headers"`
	Body    *string            `json:"body"`
	Raw     *string            `json:"raw"` // instead of all the others
}

// Host is the caller that is no container.
const Host = "host"

// From is the caller's short name: [Host] or a container's.
func (c Capture) From() string {
	name, _ := strings.CutPrefix(c.Caller, "container ")
	name, _, _ = strings.Cut(name, " ")
	return name
}

// Captures gives all in the order in which they were made, which is not that
// of the file: the tests of an update ("RUN") came last, after those from the
// containers.
func Captures() ([]Capture, error) {
	zr, err := gzip.NewReader(bytes.NewReader(captures))
	if err != nil {
		return nil, fmt.Errorf("read the captures: %w", err)
	}
	var first, last []Capture
	dec := json.NewDecoder(zr)
	for i := 0; ; i++ {
		var c Capture
		if err := dec.Decode(&c); err == io.EOF {
			return append(first, last...), nil
		} else if err != nil {
			return nil, fmt.Errorf("read capture %d: %w", i, err)
		}
		c.Index = i
		if c.Test == "RUN" {
			last = append(last, c)
		} else {
			first = append(first, c)
		}
	}
}
