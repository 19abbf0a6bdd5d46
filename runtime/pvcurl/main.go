package pvcurl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/internal/program"
)

const help = `Usage: pvcurl --unix-socket SOCKET [options] [URL]
Send one HTTP request over a unix socket and print the answer's body.

  -X METHOD               the method (GET; --data and -T do not change it)
  -H, --header LINE       a header, "Name: value"; \n, \t, \xHH are understood
  --data, --data-binary S the body
  -T, --upload-file FILE  the body from a file; - is standard input
  --unix-socket SOCKET    the server's socket
  -o, --output FILE       write the body to a file, which appears when it is whole
  -i, --include           print the answer's headers too
  -w, --write-out FORMAT  print this after the body; %{http_code} is the status
  -s, --silent            no messages about errors
  -v, --verbose           tell on standard error what happens
  --connect-timeout N     seconds until the connection must stand (5)
  --max-time N            seconds until all must be done (no limit)
  --no-progress-meter     accepted; there is no progress meter
  -h, --help              this text

An answer of any status is success: exit code 0. 1 is everything else.
pvcurl completion bash|zsh|fish prints a completion script.

Examples:
  pvcurl --unix-socket /run/pantavisor/pv/pv-ctrl http://localhost/containers
  pvcurl --unix-socket /pantavisor/pv-ctrl -s -o /dev/null -w '%{http_code}\n' \
      -X PUT --data value http://localhost/user-meta/key
  tar c . | pvcurl --unix-socket /pantavisor/pv-ctrl -X PUT -T - http://localhost/objects/SHA256
`

// Main is the program. Its exit code is 0 when an answer came, of any status,
// and 1 otherwise.
func Main(ctx context.Context, env program.Env) int {
	if len(env.Args) == 0 {
		io.WriteString(env.Stdout, help)
		return 0
	}
	if script, ok := completion(env.Args); ok {
		io.WriteString(env.Stdout, script)
		return 0
	}
	o, err := parse(env.Args)
	if err == nil && !o.help && o.socket == "" {
		err = usageError("--unix-socket is required.")
	}
	switch {
	case err != nil:
		if !o.silent {
			fmt.Fprintf(env.Stderr, "Error: %v\n", err)
		}
		return 1
	case o.help:
		io.WriteString(env.Stdout, help)
		return 0
	}
	if o.maxTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.maxTime, fmt.Errorf("not done after %v (--max-time)", o.maxTime))
		defer cancel()
	}
	if err := o.run(ctx, env); err != nil {
		if !o.silent {
			env.Errorf("%v", err)
		}
		return 1
	}
	return 0
}

// run sends the request and prints the answer.
func (o *options) run(ctx context.Context, env program.Env) error {
	req, closeBody, err := o.request(env.Stdin)
	if err != nil {
		return err
	}
	defer closeBody()
	o.tell(env, "Connecting to %s...", o.socket)
	version := "1.0"
	if req.chunked() {
		version = "1.1"
	}
	o.tell(env, "> %s %s HTTP/%s", req.Method, req.Path, version)
	c := &Client{Socket: o.socket, ConnectTimeout: o.connectTimeout}
	resp, err := c.Do(ctx, *req)
	if errors.Is(err, ErrNoReply) {
		// Success with an empty answer, as in the script; %{http_code} is 000.
		if !o.silent {
			env.Errorf("%v", err)
		}
		resp, err = &Response{Body: io.NopCloser(bytes.NewReader(nil))}, nil
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if o.verbose {
		fmt.Fprintln(env.Stderr, resp.Line)
	}
	if err := o.print(env.Stdout, resp); err != nil {
		return err
	}
	if o.writeOut != "" {
		_, err = io.WriteString(env.Stdout, o.after(resp.Status))
	}
	return err
}

func (o *options) tell(env program.Env, format string, args ...any) {
	if o.verbose {
		fmt.Fprintf(env.Stderr, "* "+format+"\n", args...)
	}
}

// print writes the answer where it belongs.
func (o *options) print(stdout io.Writer, resp *Response) error {
	if o.output != "" {
		return WriteTo(o.output, resp.Body)
	}
	if o.include {
		if _, err := stdout.Write(resp.Head); err != nil {
			return err
		}
	}
	_, err := io.Copy(stdout, resp.Body)
	return err
}

// WriteTo writes all of r to a file, which appears under its name when it is
// whole. Something that is there and not a regular file, such as /dev/stdout or
// a pipe, is written to as it is.
func WriteTo(name string, r io.Reader) error {
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	}
	f, err := atomicfile.Create(name, 0o644)
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("create %s: %w", name, cause.Err)
	} else if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := io.Copy(f, r); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Commit()
}

// after is what --write-out prints.
func (o *options) after(status int) string {
	format := strings.TrimSuffix(strings.TrimPrefix(o.writeOut, "'"), "'")
	return unescape(strings.ReplaceAll(format, "%{http_code}", fmt.Sprintf("%03d", status)))
}

// request puts the request together and opens its body.
func (o *options) request(stdin io.Reader) (*Request, func(), error) {
	req := &Request{Method: o.method, Path: requestPath(o.url)}
	length, chunked := int64(Unknown), false
	for _, line := range o.headers {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "content-length":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
				return nil, nil, fmt.Errorf("header %q: it is not a length in bytes", line)
			}
			length = n
			continue
		case "transfer-encoding":
			if chunked = strings.EqualFold(value, "chunked"); chunked {
				continue
			}
		}
		req.Header = append(req.Header, line)
	}
	body, err := o.open(stdin)
	if err != nil {
		return nil, nil, err
	}
	req.Body, req.Size = body.r, body.size
	switch {
	case chunked:
		req.Size = Unknown
	case req.Size == Unknown && length != Unknown:
		req.Size = length
	case length != Unknown && length != req.Size:
		body.close()
		return nil, nil, fmt.Errorf("the header says Content-Length %d, and the body has %d bytes", length, req.Size)
	}
	if req.chunked() { // the only coding, and the body is in it
		req.Header = without(req.Header, "transfer-encoding")
	}
	return req, body.close, nil
}

func without(lines []string, name string) []string {
	var rest []string
	for _, line := range lines {
		if n, _, _ := strings.Cut(line, ":"); !strings.EqualFold(n, name) {
			rest = append(rest, line)
		}
	}
	return rest
}

// body is a request's body and its size, if that is known.
type body struct {
	r     io.Reader
	size  int64
	close func()
}

func (o *options) open(stdin io.Reader) (body, error) {
	none := func() {}
	switch o.upload {
	case "":
		return body{strings.NewReader(o.data), int64(len(o.data)), none}, nil
	case "-":
		return body{stdin, SizeOf(stdin), none}, nil
	}
	f, err := os.Open(o.upload)
	if err != nil {
		return body{}, err
	}
	if st, err := f.Stat(); err == nil && st.IsDir() {
		f.Close()
		return body{}, &fs.PathError{Op: "upload", Path: o.upload, Err: errors.New("it is a directory")}
	}
	return body{f, SizeOf(f), func() { f.Close() }}, nil
}

// SizeOf is how much there is to read from a regular file, or [Unknown].
func SizeOf(r io.Reader) int64 {
	f, ok := r.(*os.File)
	if !ok {
		return Unknown
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return Unknown
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return Unknown
	}
	return max(0, st.Size()-at)
}
