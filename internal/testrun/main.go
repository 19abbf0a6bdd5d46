// Command testrun runs `go test -json` with the arguments it is given, prints
// failures whole and everything else by package, and closes with the number
// of tests passed, failed and skipped and the reason of each skip: a skip that
// nobody sees is a lie.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// event is a line of `go test -json` (cmd/test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

type key struct{ pkg, test string }

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		os.Exit(2)
	}
	r := report{w: os.Stdout, output: map[key]*strings.Builder{}}
	readErr := r.read(out)
	waitErr := cmd.Wait()
	r.summary()
	switch {
	case readErr != nil:
		fmt.Fprintln(os.Stderr, "testrun:", readErr)
		os.Exit(2)
	case waitErr != nil || r.failed > 0:
		os.Exit(1)
	}
}

type report struct {
	w                       io.Writer
	output                  map[key]*strings.Builder
	passed, failed, skipped int
	skips                   []string
	failures                []string
}

func (r *report) read(in io.Reader) error {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		var e event
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			fmt.Fprintln(r.w, sc.Text()) // a build error is plain text
			continue
		}
		r.add(e)
	}
	return sc.Err()
}

func (r *report) add(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "output", "build-output":
		if r.output[k] == nil {
			r.output[k] = &strings.Builder{}
		}
		r.output[k].WriteString(e.Output)
		return
	case "pass", "fail", "skip", "build-fail":
	default:
		return
	}
	text := ""
	if b := r.output[k]; b != nil {
		text = b.String()
		delete(r.output, k)
	}
	name := strings.TrimPrefix(e.Package, "github.com/pvkit/pvkit/") + "." + e.Test
	switch {
	case e.Test == "": // the package's own line
		r.finish(e, text)
	case e.Action == "pass":
		r.passed++
	case e.Action == "fail":
		r.failed++
		r.failures = append(r.failures, name)
		fmt.Fprint(r.w, text)
	case e.Action == "skip":
		r.skipped++
		r.skips = append(r.skips, name+": "+reason(text))
	}
}

func (r *report) finish(e event, text string) {
	took := time.Duration(e.Elapsed * float64(time.Second)).Round(10 * time.Millisecond)
	switch e.Action {
	case "pass":
		fmt.Fprintf(r.w, "ok    %s  %s\n", e.Package, took)
	case "fail", "build-fail":
		if e.Action == "fail" {
			r.failures = append(r.failures, e.Package)
		}
		fmt.Fprintf(r.w, "%s\nFAIL  %s  %s\n", strings.TrimRight(text, "\n"), e.Package, took)
	}
}

// reason takes the message of t.Skip out of a test's output.
func reason(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			return line
		}
	}
	return "no reason given"
}

func (r *report) summary() {
	slices.SortFunc(r.skips, cmp.Compare)
	if len(r.skips) > 0 {
		fmt.Fprintln(r.w, "\nskipped:")
		for _, s := range r.skips {
			fmt.Fprintln(r.w, "  "+s)
		}
	}
	if len(r.failures) > 0 {
		fmt.Fprintln(r.w, "\nfailed:")
		for _, s := range r.failures {
			fmt.Fprintln(r.w, "  "+s)
		}
	}
	fmt.Fprintf(r.w, "\n%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
}
