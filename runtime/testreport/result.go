// Package testreport is what the documented test plans have in common as code:
// how a test ends ([Judge]), which are run ([Select]), and the [Report], which
// writes itself as text, JSON, JUnit XML or TAP.
package testreport

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Verdict is how a test ended.
type Verdict string

// The verdicts.
const (
	Pass     Verdict = "PASS"
	Fail     Verdict = "FAIL"
	Expected Verdict = "EXPECTED" // not what the plan says, and known to be so
	Skip     Verdict = "SKIP"
)

// Result is what came of a test.
type Result struct {
	Number   int      `json:"number"`
	Name     string   `json:"name"`
	Verdict  Verdict  `json:"verdict"`
	Reason   string   `json:"reason,omitempty"`
	Millis   int64    `json:"ms"`
	Evidence Evidence `json:"evidence,omitempty"`
}

// Evidence is what a test saw, in its order.
type Evidence []Exchange

// Add keeps an exchange; the same once more only counts.
func (e *Evidence) Add(x Exchange) {
	if n := len(*e); n > 0 {
		last := (*e)[n-1]
		times := max(last.Times, 1)
		last.Times = 0
		if last == x {
			(*e)[n-1].Times = times + 1
			return
		}
	}
	*e = append(*e, x)
}

// Exchange is a question and its answer: an HTTP request, or a look at
// something. Long bodies are cut.
type Exchange struct {
	Request string `json:"request"` // method and path
	Body    string `json:"body,omitempty"`
	Status  int    `json:"status"` // 0: there was no answer, or it is no HTTP
	Type    string `json:"content_type,omitempty"`
	Reply   string `json:"reply,omitempty"`
	Error   string `json:"error,omitempty"`
	Times   int    `json:"times,omitempty"` // so often in a row, if more than once
}

// ending is an end of a test other than PASS and FAIL, or a PASS with words.
type ending struct {
	verdict Verdict
	reason  string
}

func (e *ending) Error() string { return string(e.verdict) + ": " + e.reason }

// End makes an error that ends a test with a verdict and its reason.
func End(v Verdict, format string, args ...any) error {
	return &ending{v, fmt.Sprintf(format, args...)}
}

// Judge is the result of a test that returned err: nil is a PASS, one of End
// what it says, any other a FAIL.
func Judge(number int, name string, err error) Result {
	r := Result{Number: number, Name: name, Verdict: Pass}
	if e, ok := errors.AsType[*ending](err); ok {
		r.Verdict, r.Reason = e.verdict, e.reason
	} else if err != nil {
		r.Verdict, r.Reason = Fail, err.Error()
	}
	return r
}

// Select makes a choice of tests from a word: numbers and ranges from 1 to last
// ("1-16,27"), or a regular expression for names, whose letters may have any
// case.
func Select(word string, last int) (func(number int, name string) bool, error) {
	if strings.Trim(word, "0123456789,- ") == "" && word != "" {
		return selectNumbers(word, last)
	}
	re, err := regexp.Compile("(?i)" + word)
	if err != nil {
		return nil, fmt.Errorf("choose tests: %q is neither a list of numbers nor a regular expression: %w", word, err)
	}
	return func(_ int, name string) bool { return re.MatchString(name) }, nil
}

func selectNumbers(word string, last int) (func(int, string) bool, error) {
	chosen := map[int]bool{}
	for part := range strings.SplitSeq(word, ",") {
		first, end, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			end = first
		}
		a, errA := strconv.Atoi(first)
		b, errB := strconv.Atoi(end)
		if err := errors.Join(errA, errB); err != nil || a < 1 || b > last || a > b {
			return nil, fmt.Errorf("choose tests: %q is not among the numbers 1 to %d", part, last)
		}
		for n := a; n <= b; n++ {
			chosen[n] = true
		}
	}
	return func(number int, _ string) bool { return chosen[number] }, nil
}
