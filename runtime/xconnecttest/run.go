package xconnecttest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/pvkit/pvkit/runtime/nsinject"
	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/testreport"
	"github.com/pvkit/pvkit/runtime/xconnect"
)

// Test is one of the plan.
type Test struct {
	Number int
	Name   string
	run    func(ctx context.Context, p *probe) error
}

// Options say where and what to test. Only Socket is needed.
type Options struct {
	Socket string            // of pv-ctrl
	Run    func(Test) bool   // which tests; nil: all
	Inside xconnect.Injector // reaches into containers; nil is nsinject
	// Logs is the runtime's log directory, with a directory for each revision;
	// "" asks the runtime.
	Logs string
	// Connects is how often test 7 connects; 0 is the plan's 100.
	Connects int
	// Patience is how long a link and a client's line in its log may take; 0 is
	// 20 s.
	Patience time.Duration
	// Done, when set, is called after each test.
	Done func(testreport.Result)
}

// ErrNoServer is a socket that nobody answers at.
var ErrNoServer = errors.New("no server answers there")

// Tests lists the plan in its order.
func Tests() []Test {
	return []Test{
		{1, "unix: the socket in the consumer", unixLinks},
		{2, "dbus: the bus in the consumer, and a call", dbusLinks},
		{3, "rest: the socket in the consumer, and an answer", restLinks},
		{4, "drm: the device in the consumer", drmLinks},
		{5, "lifecycle: a request and its whole answer", request},
		{6, "lifecycle: the answer after a half-close", halfClose},
		{7, "lifecycle: no descriptor is left", descriptors},
	}
}

// Select makes a choice of tests from a word: numbers and ranges ("1,5-7"), or a
// regular expression for names, whose letters may have any case.
func Select(word string) (func(Test) bool, error) {
	choose, err := testreport.Select(word, len(Tests()))
	if err != nil {
		return nil, err
	}
	return func(t Test) bool { return choose(t.Number, t.Name) }, nil
}

// Run runs the tests, one after the other. An error means that nothing could be
// tested; a test that fails is a result.
func Run(ctx context.Context, o Options) (*testreport.Report, error) {
	if st, err := os.Stat(o.Socket); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("test pv-xconnect: there is no socket %s: is the runtime up? (%w)", o.Socket, fs.ErrNotExist)
	} else if err != nil {
		return nil, fmt.Errorf("test pv-xconnect: %w", err)
	} else if st.Mode()&fs.ModeSocket == 0 {
		return nil, fmt.Errorf("test pv-xconnect: %s is not a socket", o.Socket)
	}
	o.Patience = cmp.Or(o.Patience, 20*time.Second)
	o.Connects = cmp.Or(o.Connects, 100)
	if o.Inside == nil {
		o.Inside = nsinject.New(nsinject.Options{})
	}
	p := &probe{Options: o, ctrl: pvctrl.NewClient(o.Socket)}
	if _, err := p.links(ctx, ""); err != nil {
		return nil, fmt.Errorf("test pv-xconnect at %s: %w: %w", o.Socket, ErrNoServer, err)
	}
	report := &testreport.Report{Plan: "xconnect", Socket: o.Socket}
	for _, t := range Tests() {
		if o.Run != nil && !o.Run(t) {
			continue
		}
		p.evidence = nil
		start := time.Now()
		r := testreport.Judge(t.Number, t.Name, t.run(ctx, p))
		r.Millis, r.Evidence = time.Since(start).Milliseconds(), p.evidence
		report.Results = append(report.Results, r)
		if o.Done != nil {
			o.Done(r)
		}
		if ctx.Err() != nil {
			return report, context.Cause(ctx)
		}
	}
	return report, nil
}
