package pvcontrol

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"reflect"
	"strings"
)

const (
	maxState   = 64 << 20 // of the state in an archive, and of a list
	maxMembers = 1 << 16
)

func stepVerbs() []verb {
	rev := arg{name: "revision", kind: revision}
	return []verb{
		{name: "install", args: []arg{{name: "tgz", kind: file}, {name: "locals/revision", optional: true}},
			summary: "put the objects and the state of an archive; without a name, locals/<sha256 of the archive>", run: install},
		{name: "put", args: []arg{{name: "path", kind: file}, {name: "locals/revision"}},
			summary: "put a state, from a file or - for standard input", run: putStepVerb},
		{name: "get", args: []arg{rev}, summary: "print the state of a revision; current is the running one", run: func(ctx context.Context, s *session, _ *verb, args []string) int {
			return s.show(ctx, request{path: "/steps/" + args[0]})
		}},
		{name: "show-progress", args: []arg{rev}, summary: "print how far the update to a revision is", run: func(ctx context.Context, s *session, _ *verb, args []string) int {
			return s.show(ctx, request{path: "/steps/" + args[0] + "/progress"})
		}},
		list(get("/steps", "name", "date", "commitmsg", "progress.status", "progress.progress"), "list all revisions"),
	}
}

func putStepVerb(ctx context.Context, s *session, _ *verb, args []string) int {
	src, err := s.open(args[0])
	if err != nil {
		s.env.Errorf("put a state: %v", err)
		return exitFailure
	}
	defer src.close()
	put := request{method: "PUT", path: "/steps/" + args[1], body: src, size: src.size}
	if s.message == "" {
		return s.show(ctx, put)
	}
	if code := s.quiet(ctx, put); code != exitOK {
		return code
	}
	return s.show(ctx, s.commitMessage(args[1]))
}

func (s *session) commitMessage(rev string) request {
	return request{method: "PUT", path: "/steps/" + rev + "/commitmsg", data: s.message}
}

// install puts what an archive has and the server has not: first the objects,
// then the state, so that no state is stored before what it needs. The archive
// is read twice, once to know what is in it and once to send, and never
// unpacked.
func install(ctx context.Context, s *session, _ *verb, args []string) int {
	name, rev := args[0], args[1]
	if !strings.HasSuffix(name, ".tgz") && !strings.HasSuffix(name, ".tar.gz") {
		s.env.Errorf("install %s: the name of an archive ends in .tgz or .tar.gz", name)
		return s.say("ERROR: unkwnown file format") // the script's words
	}
	a, err := readArchive(name)
	if err != nil {
		s.env.Errorf("read %s: %v", name, err)
		return s.say("ERROR: wrong contents of compressed step")
	}
	if rev == "" {
		rev = "locals/" + a.digest
	}
	if code := s.putObjects(ctx, name); code != exitOK {
		return code
	}
	if code := s.putState(ctx, rev, a.state); code != exitOK {
		return code
	}
	if err := s.print(strings.NewReader(`{"revision":` + quote(rev) + "}\n")); err != nil {
		s.env.Errorf("%v", err)
		return exitFailure
	}
	return exitOK
}

func (s *session) say(text string) int {
	fmt.Fprintln(s.env.Stdout, text)
	return exitFailure
}

// putObjects sends the objects of an archive that the server does not list.
func (s *session) putObjects(ctx context.Context, name string) int {
	have, code := s.names(ctx, "/objects", "sha256")
	if code != exitOK {
		return code
	}
	err := members(name, func(file string, size int64, r io.Reader) error {
		sha, ok := strings.CutPrefix(file, "objects/")
		if !ok || have[sha] {
			return nil
		}
		have[sha] = true
		if code = s.quiet(ctx, putRequest(sha, r, size)); code != exitOK {
			return errStop
		}
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		s.env.Errorf("read %s: %v", name, err)
		return exitFailure
	}
	return code
}

var errStop = errors.New("stop")

// putState puts the state and the commit message, unless the revision is there
// with the same state already.
func (s *session) putState(ctx context.Context, rev string, state []byte) int {
	have, code := s.names(ctx, "/steps", "name")
	if code != exitOK {
		return code
	}
	if have[rev] {
		same := false
		code = s.with(ctx, request{path: "/steps/" + rev}, func(body io.Reader) error {
			b, err := io.ReadAll(io.LimitReader(body, maxState))
			same = err == nil && sameJSON(b, state)
			return err
		})
		if code == exitOK && !same {
			s.env.Errorf("revision %s exists with another state: choose another name", rev)
			return exitFailure
		}
		return code
	}
	put := request{method: "PUT", path: "/steps/" + rev, data: string(state)}
	if code := s.quiet(ctx, put); code != exitOK || s.message == "" {
		return code
	}
	return s.quiet(ctx, s.commitMessage(rev))
}

func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// names fetches a list and gives one key of its entries.
func (s *session) names(ctx context.Context, path, key string) (map[string]bool, int) {
	set := map[string]bool{}
	code := s.with(ctx, request{path: path}, func(body io.Reader) error {
		list, err := entries(body)
		for _, e := range list {
			if name, ok := e[key].(string); ok {
				set[name] = true
			}
		}
		return err
	})
	return set, code
}

// entries reads an array of objects.
func entries(r io.Reader) ([]map[string]any, error) {
	var list []map[string]any
	dec := json.NewDecoder(io.LimitReader(r, maxState))
	dec.UseNumber()
	if err := dec.Decode(&list); err != nil {
		return nil, fmt.Errorf("the answer is not a list: %w", err)
	}
	return list, nil
}

// step is what an archive has, but for the objects' bytes.
type step struct {
	state  []byte
	digest string // of the archive, sha256 in hex
}

// errContents is an archive that is not of a revision.
var errContents = errors.New("it should have the file json and the folder objects")

// readArchive reads the state and checks that there are objects.
func readArchive(name string) (*step, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	a := &step{digest: hex.EncodeToString(h.Sum(nil))}
	objects := false
	err = members(name, func(file string, size int64, r io.Reader) error {
		switch {
		case file == "json":
			if size > maxState {
				return fmt.Errorf("its json has %d bytes, and %d are allowed", size, maxState)
			}
			var err error
			a.state, err = io.ReadAll(r)
			return err
		case file == "objects" || strings.HasPrefix(file, "objects/"):
			objects = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(a.state) == 0 || !objects {
		return nil, errContents
	}
	return a, nil
}

// members calls f with every file and directory of a compressed archive. A name
// below objects is one component.
func members(name string, f func(file string, size int64, r io.Reader) error) error {
	src, err := os.Open(name)
	if err != nil {
		return err
	}
	defer src.Close()
	zr, err := gzip.NewReader(src)
	if err != nil {
		return err
	}
	tr := tar.NewReader(zr)
	for range maxMembers {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		file := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
			continue
		}
		if sha, ok := strings.CutPrefix(file, "objects/"); ok && (h.Typeflag == tar.TypeDir || strings.Contains(sha, "/")) {
			return fmt.Errorf("%s is not an object: objects are files directly below objects", file)
		}
		if err := f(file, h.Size, tr); err != nil {
			return err
		}
	}
	return fmt.Errorf("it has more than %d members", maxMembers)
}
