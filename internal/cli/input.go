package cli

import (
	"context"
	"io"
)

// input is standard input for one reader. A read ends when the command is
// interrupted, even if whoever should write never does: the read that hangs is
// left behind, because nothing but the end of the process can end it.
type input struct {
	ctx context.Context
	r   io.Reader
	buf []byte
}

func (in *input) Read(p []byte) (int, error) {
	if err := in.ctx.Err(); err != nil {
		return 0, err
	}
	if len(in.buf) < len(p) {
		in.buf = make([]byte, len(p))
	}
	type result struct {
		n   int
		err error
	}
	buf, got := in.buf[:len(p)], make(chan result, 1) // p is the caller's again when this returns
	go func() {
		n, err := in.r.Read(buf)
		got <- result{n, err}
	}()
	select {
	case <-in.ctx.Done():
		return 0, in.ctx.Err()
	case r := <-got:
		return copy(p, buf[:r.n]), r.err
	}
}

// readOnce refuses a command line that wants to read standard input twice.
func readOnce(args []string) error {
	found := false
	for _, arg := range args {
		if isStdin(arg) && found {
			return usagef("standard input can be read once: only one argument can be -")
		}
		found = found || isStdin(arg)
	}
	return nil
}
