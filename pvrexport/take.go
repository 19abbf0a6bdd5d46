package pvrexport

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
)

// Taken is what Take read.
type Taken struct {
	State   *State
	Missing []string // objects that the state names and the bundle lacks
}

// Take reads what can be added to a device: a bundle, as Import does, or a
// state by itself, which carries no objects. The bundle may be compressed with
// bzip2, too. Objects that are missing are no error: the device may have them.
func Take(ctx context.Context, r io.Reader, sink ObjectSink, lim Limits) (*Taken, error) {
	in := bufio.NewReaderSize(&contextReader{ctx, r}, 1<<16)
	magic, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var stream io.Reader = in
	switch {
	case bytes.HasPrefix(magic, []byte("BZh")):
		stream = bzip2.NewReader(in)
	case startsObject(in):
		state, err := DecodeState(in)
		if err != nil {
			return nil, err
		}
		return &Taken{State: state, Missing: state.Objects()}, nil
	}
	var seen partial
	imp := &importer{ctx: ctx, sink: sink, lim: lim.withDefaults(), observer: &seen}
	if err := imp.run(stream); err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	return &Taken{State: imp.state, Missing: seen.missing}, nil
}

// startsObject reports whether the first thing that is not a blank opens a
// JSON object. No header of a tar archive does: a name comes first there, and
// Import takes none with a brace.
func startsObject(in *bufio.Reader) bool {
	head, _ := in.Peek(512)
	head = bytes.TrimLeft(head, " \t\r\n")
	return len(head) > 0 && head[0] == '{'
}

// partial is the observer of Take.
type partial struct {
	strict
	missing []string
}

func (p *partial) problem(rule string, err *EntryError) error {
	if rule != ruleMissing {
		return err
	}
	p.missing = append(p.missing, err.Entry[len(objectsDir):])
	return nil
}
