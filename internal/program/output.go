package program

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Output is standard output for a program that has to end in order when its
// reader has ended: what cannot be written there any more calls gone, at every
// write. On the descriptors 1 and 2 themselves package os ends the process then
// (os/signal, "SIGPIPE"), and to ask for that signal instead is to get it for
// every socket of the process, too. So this writes to another descriptor.
//
// A writer that is no file is left as it is.
func Output(w io.Writer, gone func()) (io.Writer, error) {
	f, ok := w.(*os.File)
	if !ok {
		return w, nil
	}
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("copy the descriptor of %s: %w", f.Name(), err)
	}
	syscall.CloseOnExec(fd)
	return &output{os.NewFile(uintptr(fd), f.Name()), gone}, nil
}

type output struct {
	file *os.File
	gone func()
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		o.gone()
	}
	return n, err
}
