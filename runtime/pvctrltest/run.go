package pvctrltest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/pvkit/pvkit/runtime/pvcurl"
	"github.com/pvkit/pvkit/runtime/testreport"
)

// The report and its parts are those of package testreport.
type (
	Verdict  = testreport.Verdict
	Result   = testreport.Result
	Exchange = testreport.Exchange
	Report   = testreport.Report
)

// The verdicts.
const (
	Pass     = testreport.Pass
	Fail     = testreport.Fail
	Expected = testreport.Expected // not what the plan says, and known to be so
	Skip     = testreport.Skip
)

// Test is one of the plan.
type Test struct {
	Number  int
	Name    string
	run     func(ctx context.Context, p *probe) error
	destroy bool // it ends the server
}

// Options say where and what to test. Only Socket is needed.
type Options struct {
	Socket        string
	Run           func(Test) bool // which tests; nil: all
	AllowPoweroff bool            // test 26 too, which ends the server
	// Provider and Consumer are the containers of tests 2, 21 and 28; "" for the
	// plan's pv-example-unix-server and pv-example-unix-client.
	Provider, Consumer string
	// Patience is how long a change may take that the server makes after its
	// answer, and a busy server; 0 is 20 s.
	Patience time.Duration
	// Done, when set, is called after each test.
	Done func(Result)
}

// ErrNoServer is a socket that nobody answers at.
var ErrNoServer = errors.New("no server answers there")

// Tests lists the plan in the order in which it runs: what takes something away
// comes last. Test 27 collects the garbage of 12 to 16, and 26 ends the server.
func Tests() []Test {
	all := slices.Concat(readTests(), metaTests(), objectTests(), daemonTests(), signalTests())
	slices.SortFunc(all, func(a, b Test) int { return a.Number - b.Number })
	return append(all, lastTests()...)
}

// Run runs the tests, one after the other, and cleans up. An error means that
// nothing could be tested; a test that fails is a result.
func Run(ctx context.Context, o Options) (*Report, error) {
	if st, err := os.Stat(o.Socket); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("test pv-ctrl: there is no socket %s: is the runtime up? (%w)", o.Socket, fs.ErrNotExist)
	} else if err != nil {
		return nil, fmt.Errorf("test pv-ctrl: %w", err)
	} else if st.Mode()&fs.ModeSocket == 0 {
		return nil, fmt.Errorf("test pv-ctrl: %s is not a socket", o.Socket)
	}
	if o.Patience == 0 {
		o.Patience = 20 * time.Second
	}
	p := newProbe(o)
	if _, err := p.ask(ctx, pvcurl.Request{Path: "/containers"}); err != nil {
		return nil, fmt.Errorf("test pv-ctrl at %s: %w: %w", o.Socket, ErrNoServer, err)
	}
	report := &Report{Plan: "pv-ctrl", Socket: o.Socket}
	collected, gone := false, false
	for _, t := range Tests() {
		if o.Run != nil && !o.Run(t) {
			continue
		}
		if t.destroy && o.AllowPoweroff {
			report.Left = p.cleanUp(ctx, collected) // while there is a server
			gone = true
		}
		r := p.test(ctx, t)
		report.Results = append(report.Results, r)
		if o.Done != nil {
			o.Done(r)
		}
		if t.Number == 27 && r.Verdict == Pass {
			collected = true
		}
		if ctx.Err() != nil {
			break
		}
	}
	if !gone {
		// Also after an interruption the machine gets back what it had.
		report.Left = p.cleanUp(context.WithoutCancel(ctx), collected)
	}
	if ctx.Err() != nil {
		return report, context.Cause(ctx)
	}
	return report, nil
}

// Select makes a choice of tests from a word: numbers and ranges ("1-16,27"), or
// a regular expression for names, whose letters may have any case.
func Select(word string) (func(Test) bool, error) {
	choose, err := testreport.Select(word, len(Tests()))
	if err != nil {
		return nil, err
	}
	return func(t Test) bool { return choose(t.Number, t.Name) }, nil
}

// test runs one.
func (p *probe) test(ctx context.Context, t Test) Result {
	p.evidence = nil
	start := time.Now()
	r := testreport.Judge(t.Number, t.Name, t.run(ctx, p))
	r.Millis = time.Since(start).Milliseconds()
	r.Evidence = p.evidence
	return r
}

func skip(format string, args ...any) error {
	return testreport.End(Skip, format, args...)
}

func expected(format string, args ...any) error {
	return testreport.End(Expected, format, args...)
}

// note is a PASS with something to say.
func note(format string, args ...any) error {
	return testreport.End(Pass, format, args...)
}
