package dbus

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

const testGUID = "0123456789abcdef0123456789abcdef"

// fakeBus is a bus that answers as it is told.
type fakeBus struct {
	refuse, noFDs bool
	auths         int
}

func (b *fakeBus) auth() (string, error) {
	b.auths++
	if b.refuse {
		return "", errRejected
	}
	return testGUID, nil
}

func (b *fakeBus) negotiateFDs() (bool, error) { return !b.noFDs, nil }

func TestHandshakes(t *testing.T) {
	const rejected, notHere = "REJECTED EXTERNAL", `ERROR "Not expected here"`
	for _, c := range []struct {
		name  string
		bus   fakeBus
		talk  []string // line, answer, line, answer, ...; "!" ends the connection
		ended bool     // with BEGIN
	}{
		{"one step, libdbus", fakeBus{}, []string{"AUTH EXTERNAL 30", "OK " + testGUID, "NEGOTIATE_UNIX_FD", "AGREE_UNIX_FD", "BEGIN", ""}, true},
		{"another uid than its own is only a claim", fakeBus{}, []string{"AUTH EXTERNAL 31303030", "OK " + testGUID, "BEGIN", ""}, true},
		{"multi-step, GDBus and sd-bus", fakeBus{}, []string{"AUTH EXTERNAL", "DATA", "DATA", "OK " + testGUID, "BEGIN", ""}, true},
		{"multi-step with an identity", fakeBus{}, []string{"AUTH EXTERNAL", "DATA", "DATA 30", "OK " + testGUID, "BEGIN", ""}, true},
		{"asks for mechanisms", fakeBus{}, []string{"AUTH", rejected, "AUTH EXTERNAL 30", "OK " + testGUID, "BEGIN", ""}, true},
		{"anonymous", fakeBus{}, []string{"AUTH ANONYMOUS 74657374", rejected, "AUTH DBUS_COOKIE_SHA1 30", rejected, "BEGIN", "!"}, false},
		{"cancelled", fakeBus{}, []string{"AUTH EXTERNAL", "DATA", "CANCEL", rejected, "DATA", notHere, "AUTH EXTERNAL 30", "OK " + testGUID, "CANCEL", rejected, "BEGIN", "!"}, false},
		{"no hex", fakeBus{}, []string{"AUTH EXTERNAL 3", rejected, "AUTH EXTERNAL zz", rejected}, false},
		{"no number", fakeBus{}, []string{"AUTH EXTERNAL 726f6f74", rejected, "AUTH EXTERNAL 2d31", rejected}, false},
		{"the bus refuses", fakeBus{refuse: true}, []string{"AUTH EXTERNAL 30", rejected, "BEGIN", "!"}, false},
		{"no descriptors", fakeBus{noFDs: true}, []string{"AUTH EXTERNAL 30", "OK " + testGUID, "NEGOTIATE_UNIX_FD", `ERROR "The bus does not pass descriptors"`, "BEGIN", ""}, true},
		{"descriptors before the identity", fakeBus{}, []string{"NEGOTIATE_UNIX_FD", notHere}, false},
		{"BEGIN first", fakeBus{}, []string{"BEGIN", "!"}, false},
		{"unknown command", fakeBus{}, []string{"HELLO", notHere, "auth EXTERNAL 30", notHere}, false},
		{"not ASCII", fakeBus{}, []string{"AUTH \x00", "!"}, false},
		{"tries for ever", fakeBus{}, []string{"AUTH", rejected, "AUTH", rejected, "AUTH", rejected, "AUTH", rejected, "AUTH", rejected, "AUTH", rejected, "AUTH", "!"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &server{bus: &c.bus}
			for i := 0; i < len(c.talk); i += 2 {
				got, err := s.line(c.talk[i])
				if err != nil {
					if !errors.Is(err, errHandshake) {
						t.Errorf("error %v", err)
					}
					got = "!"
				}
				if got != c.talk[i+1] {
					t.Fatalf("%q: got %q, want %q", c.talk[i], got, c.talk[i+1])
				}
			}
			if (s.state == done) != c.ended {
				t.Errorf("ended in state %d", s.state)
			}
		})
	}
}

func TestBusAnswers(t *testing.T) {
	if got := externalLine(1001); got != "AUTH EXTERNAL 31303031" {
		t.Error(got)
	}
	if g, err := busGUID("OK " + testGUID); err != nil || g != testGUID {
		t.Error(g, err)
	}
	if _, err := busGUID("REJECTED EXTERNAL"); !errors.Is(err, errRejected) {
		t.Error(err)
	}
	for _, l := range []string{"", "OK", "OK 12", "OK " + strings.Repeat("z", 32), "DATA", "ERROR"} {
		if _, err := busGUID(l); !errors.Is(err, errHandshake) {
			t.Errorf("%q: %v", l, err)
		}
	}
}

// No sequence of lines reaches BEGIN without a well-formed identity and the
// bus's consent, and the number of refusals is bounded.
func FuzzSASL(f *testing.F) {
	f.Add("AUTH EXTERNAL 30\nNEGOTIATE_UNIX_FD\nBEGIN", false)
	f.Add("AUTH EXTERNAL\nDATA\nBEGIN", false)
	f.Add("AUTH\nAUTH ANONYMOUS\nCANCEL\nDATA 30\nERROR\nBEGIN", true)
	f.Fuzz(func(t *testing.T, talk string, refuse bool) {
		b := &fakeBus{refuse: refuse}
		s := &server{bus: b}
		for l := range strings.SplitSeq(talk, "\n") {
			answer, err := s.line(l)
			if err != nil {
				return
			}
			if strings.HasPrefix(answer, "OK ") {
				_, claim, _ := strings.Cut(l, "EXTERNAL")
				if d, isData := strings.CutPrefix(l, "DATA"); isData {
					claim = d
				}
				if _, err := hex.DecodeString(strings.TrimSpace(claim)); err != nil {
					t.Fatalf("%q was accepted", l)
				}
			}
			if s.rejections > maxRejections {
				t.Fatalf("%d refusals", s.rejections)
			}
			if s.state == done {
				if refuse || b.auths == 0 {
					t.Fatal("begun without the bus")
				}
				return
			}
		}
	})
}
