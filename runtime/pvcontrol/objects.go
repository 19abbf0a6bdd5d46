package pvcontrol

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/runtime/pvcurl"
)

func objectVerbs() []verb {
	sha := arg{name: "sha256", kind: object}
	return []verb{
		{name: "put", args: []arg{{name: "path", kind: file}, {name: "sha256"}},
			summary: "put a file, or - for standard input, under its sha256", run: putObjectVerb},
		{name: "get", args: []arg{sha}, summary: "print an object, checked against its name", run: getObject},
		list(get("/objects", "sha256", "size"), "list stored objects"),
	}
}

// source is a body from a file or from standard input.
type source struct {
	io.Reader
	size  int64
	close func()
}

// open opens a path; "-" is standard input and "-N" its first N bytes.
func (s *session) open(path string) (*source, error) {
	length, isStdin := strings.CutPrefix(path, "-")
	if !isStdin {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		if st, err := f.Stat(); err == nil && st.IsDir() {
			f.Close()
			return nil, fmt.Errorf("%s is a directory", path)
		}
		return &source{f, pvcurl.SizeOf(f), func() { f.Close() }}, nil
	}
	src := &source{s.env.Stdin, pvcurl.SizeOf(s.env.Stdin), func() {}}
	if length != "" {
		n, err := strconv.ParseInt(length, 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is neither a file nor standard input: that is -, or - and its length in bytes", path)
		}
		src.size = n
	}
	return src, nil
}

// putRequest is the upload of an object.
func putRequest(sha string, body io.Reader, size int64) request {
	r := request{method: "PUT", path: "/objects/" + sha, header: []string{"Content-Type: application/octet-stream"},
		body: body, size: size, maxTime: uploadTime}
	if size != pvcurl.Unknown {
		r.header = append(r.header, "Transfer-Encoding: identity")
	}
	return r
}

func putObjectVerb(ctx context.Context, s *session, _ *verb, args []string) int {
	src, err := s.open(args[0])
	if err != nil {
		s.env.Errorf("put an object: %v", err)
		return exitFailure
	}
	defer src.close()
	return s.show(ctx, putRequest(args[1], src, src.size))
}

// getObject streams an object. HTTP/1.0 has no mark for an end that came too
// early, so the digest in the name decides whether it is whole.
func getObject(ctx context.Context, s *session, _ *verb, args []string) int {
	r := request{method: "GET", path: "/objects/" + args[0], maxTime: uploadTime}
	return s.with(ctx, r, func(body io.Reader) error {
		if want, err := hex.DecodeString(args[0]); err == nil && len(want) == sha256.Size {
			body = &checked{r: body, h: sha256.New(), want: strings.ToLower(args[0])}
		}
		return s.print(body)
	})
}

// checked reads bytes whose digest is known. Other bytes end in an error instead
// of io.EOF.
type checked struct {
	r    io.Reader
	h    hash.Hash
	want string
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.h.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if got := hex.EncodeToString(c.h.Sum(nil)); got != c.want {
			return n, &exitError{exitChecksum, fmt.Errorf("what came has the sha256 %s, so it is not the object or not all of it", got)}
		}
	}
	return n, err
}
