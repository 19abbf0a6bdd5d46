// Package difftest compares a program of ours with the shell program that it
// stands in for: the same arguments and the same scripted server, and then the
// bytes of the requests, standard output and error, the files written and the
// exit code. What the shell program did is recorded in a table; every
// difference is listed in it with its reason, and a listed difference that is
// none is an error too.
package difftest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/internal/testreq"
)

// Case is a row of the table. In the arguments, the inputs and the outputs
// $SOCKET is the server's socket and $DIR a directory of the case's own.
type Case struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	// Env is added to the environment.
	Env   []string `json:"env,omitempty"`
	Stdin string   `json:"stdin,omitempty"`
	// Files are written below $DIR first; a name that ends in .tgz is an archive
	// of what Archive has under it.
	Files   map[string]string            `json:"files,omitempty"`
	Archive map[string]map[string]string `json:"archive,omitempty"`
	// Replies are the server's, one a connection; the last one is repeated. An
	// empty one closes the connection without an answer.
	Replies []string `json:"replies,omitempty"`

	Upstream Outcome `json:"upstream"`       // what the shell program does
	Ours     *Partly `json:"ours,omitempty"` // where ours differs
	Why      string  `json:"why,omitempty"`  // and the reason
}

// Outcome is what a run did.
type Outcome struct {
	Requests []string          `json:"requests"`
	Stdout   string            `json:"stdout"`
	Stderr   string            `json:"stderr,omitempty"`
	Written  map[string]string `json:"written,omitempty"` // files below $DIR that are new or changed
	Exit     int               `json:"exit"`
}

// Partly is the part of an outcome that is different.
type Partly struct {
	Requests *[]string          `json:"requests,omitempty"`
	Stdout   *string            `json:"stdout,omitempty"`
	Stderr   *string            `json:"stderr,omitempty"`
	Written  *map[string]string `json:"written,omitempty"`
	Exit     *int               `json:"exit,omitempty"`
}

// Load reads a table.
func Load(t testing.TB, file string) []Case {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []Case
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&cases); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return cases
}

// Ours runs every case of the table with our program. With UPDATE_GOLDEN=1 the
// differences are written down; their reasons are for a person to write.
func Ours(t *testing.T, file string, main program.Main) {
	cases := Load(t, file)
	for i := range cases {
		c := &cases[i]
		t.Run(c.Name, func(t *testing.T) {
			got := c.run(t, strings.TrimSuffix(filepath.Base(file), ".json"), main)
			diff := differences(c.Upstream, got)
			if update() {
				if c.Ours = diff; diff == nil {
					c.Why = ""
				}
				return
			}
			if !reflect.DeepEqual(diff, c.Ours) {
				t.Errorf("differs from upstream in %s\nlisted: %s\nupstream: %s", show(diff), show(c.Ours), show(c.Upstream))
			}
			if (c.Ours != nil) != (c.Why != "") {
				t.Error("a difference needs a reason, and a reason a difference")
			}
		})
	}
	if update() {
		save(t, file, cases)
	}
}

// Upstream runs every case with the shell program, of a checkout that
// PVKIT_PANTAVISOR names, in the shell of busybox, which devices have. It must
// do what the table says; with UPDATE_GOLDEN=1 the table is written.
func Upstream(t *testing.T, file, script string) {
	dir := testreq.Env(t, "PVKIT_PANTAVISOR", "a checkout of github.com/pantavisor/pantavisor")
	for _, tool := range []string{"busybox", "nc"} {
		testreq.Tool(t, tool)
	}
	cases := Load(t, file)
	bin := shellPrograms(t, filepath.Join(dir, "tools"))
	for i := range cases {
		c := &cases[i]
		t.Run(c.Name, func(t *testing.T) {
			got := c.run(t, script, shell(bin, script))
			got.Stderr = strings.NewReplacer(bin+"/", "", ".sh:", ":").Replace(got.Stderr)
			if update() {
				c.Upstream = got
			} else if !reflect.DeepEqual(got, c.Upstream) {
				t.Errorf("does   %s\nrecord %s", show(got), show(c.Upstream))
			}
		})
	}
	if update() {
		save(t, file, cases)
	}
}

func update() bool { return os.Getenv("UPDATE_GOLDEN") != "" }

func show(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func save(t *testing.T, file string, cases []Case) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(cases); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// differences is what ours does otherwise, nil for nothing.
func differences(up, ours Outcome) *Partly {
	var p Partly
	if !slices.Equal(up.Requests, ours.Requests) {
		p.Requests = &ours.Requests
	}
	if up.Stdout != ours.Stdout {
		p.Stdout = &ours.Stdout
	}
	if up.Stderr != ours.Stderr {
		p.Stderr = &ours.Stderr
	}
	if !maps.Equal(up.Written, ours.Written) {
		w := maps.Clone(ours.Written)
		if w == nil {
			w = map[string]string{}
		}
		p.Written = &w
	}
	if up.Exit != ours.Exit {
		p.Exit = &ours.Exit
	}
	if p == (Partly{}) {
		return nil
	}
	return &p
}

// run sets the case up, runs the program, and collects what it did.
func (c *Case) run(t *testing.T, name string, main program.Main) Outcome {
	t.Helper()
	dir := t.TempDir()
	for name, text := range c.Files {
		write(t, filepath.Join(dir, name), []byte(text))
	}
	for name, members := range c.Archive {
		write(t, filepath.Join(dir, name), archive(t, members))
	}
	before := contents(t, dir)
	srv := serve(t, c.Replies)
	var out, errs bytes.Buffer
	fill := strings.NewReplacer("$SOCKET", srv.path, "$DIR", dir)
	env := program.Env{Name: name, Stdin: strings.NewReader(c.Stdin), Stdout: &out, Stderr: &errs,
		Environ: []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}}
	for _, a := range c.Args {
		env.Args = append(env.Args, fill.Replace(a))
	}
	for _, e := range c.Env {
		env.Environ = append(env.Environ, fill.Replace(e))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	code := main(ctx, env)
	after := contents(t, dir)
	maps.DeleteFunc(after, func(k, v string) bool { return before[k] == v })
	if len(after) == 0 {
		after = nil
	}
	empty := strings.NewReplacer(srv.path, "$SOCKET", dir, "$DIR")
	return Outcome{Requests: srv.stop(), Stdout: usage(empty.Replace(out.String())), Stderr: usage(empty.Replace(errs.String())), Written: after, Exit: code}
}

// usage leaves out the words of a help text: only that there is one counts.
func usage(s string) string {
	if before, _, ok := strings.Cut(s, "Usage: "); ok {
		return before + "Usage: …\n"
	}
	return s
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	return all
}

// archive makes a .tgz of files, in the order of their names; a name that ends
// in a slash is a directory.
func archive(t *testing.T, members map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(members[name])), Typeflag: tar.TypeReg}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		tw.Write([]byte(members[name]))
	}
	tw.Close()
	zw.Close()
	return b.Bytes()
}

// shellPrograms makes a directory with the scripts of tools as programs that
// run in busybox's shell. They are copies with temporary files of their own: those
// of pvcurl have fixed names, so that whatever else runs it would mix with them.
func shellPrograms(t *testing.T, tools string) string {
	t.Helper()
	bin := t.TempDir()
	own := strings.NewReplacer("/tmp/http_", bin+"/http_", "/tmp/nc_err", bin+"/nc_err")
	for _, name := range []string{"pvcurl", "pvcontrol"} {
		script, err := os.ReadFile(filepath.Join(tools, name))
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(bin, name+".sh")
		write(t, copied, []byte(own.Replace(string(script))))
		text := "#!/bin/sh\nexec busybox sh " + copied + ` "$@"` + "\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// shell is the script as a program.
func shell(bin, script string) program.Main {
	return func(ctx context.Context, env program.Env) int {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, script), env.Args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = env.Stdin, env.Stdout, env.Stderr
		cmd.Env = append(env.Environ, "PATH="+bin+":"+os.Getenv("PATH"))
		return env.Exit(cmd.Run(), script)
	}
}
