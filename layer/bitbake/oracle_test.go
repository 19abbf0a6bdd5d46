package bitbake_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pvkit/pvkit/layer/bitbake"
)

// oracleCase is one configuration in the form in which the real BitBake was
// asked about it, with its answer.
type oracleCase struct {
	ID        string            `json:"id"`
	Files     map[string]string `json:"files"`
	Entry     string            `json:"entry"`
	Overrides *string           `json:"overrides"`
	Base      bool              `json:"base,omitempty"` // the entry may use addpylib
	Inherit   bool              `json:"inherit,omitempty"`
	Recipe    string            `json:"recipe,omitempty"`
	BBAppend  []string          `json:"bbappend,omitempty"`
	Finalize  bool              `json:"finalize,omitempty"`
	Vars      []string          `json:"vars"`
	Want      oracleAnswer      `json:"want"`
}

type oracleAnswer struct {
	OK    bool `json:"ok"`
	Stuck bool `json:"stuck"` // BitBake did not end
	Error *struct {
		Type string `json:"type"`
		Msg  string `json:"msg"`
	} `json:"error"`
	Vars map[string]oracleVar `json:"vars"`
}

type oracleVar struct {
	V     *string                    `json:"v"`
	U     *string                    `json:"u"`
	XErr  string                     `json:"xerr"`
	Flags map[string]json.RawMessage `json:"f"`
	H     [][]any                    `json:"h"`
}

const oracleRoot = "/r"

// strip takes the private root out of a text, as the oracle does.
func strip(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, oracleRoot+"/", ""), oracleRoot, "@ROOT@")
}

// evalCase does with this package what the oracle does with BitBake.
func evalCase(c *oracleCase) (*bitbake.Datastore, error) {
	fsys := fstest.MapFS{}
	for name, src := range c.Files {
		fsys[strings.TrimPrefix(oracleRoot, "/")+"/"+name] = &fstest.MapFile{Data: []byte(src)}
	}
	d := bitbake.New(bitbake.NewLoader(fsys))
	if err := d.Set("BBPATH", oracleRoot); err != nil {
		return d, err
	}
	if c.Overrides != nil {
		if err := d.Set("OVERRIDES", *c.Overrides); err != nil {
			return d, err
		}
	}
	if err := d.Include(oracleRoot+"/"+c.Entry, c.Base); err != nil {
		return d, err
	}
	if c.Inherit {
		v, _, err := d.Get("INHERIT")
		if err != nil {
			return d, err
		}
		for _, class := range strings.Fields(v.Text) {
			if err := d.InheritClasses(class, "INHERIT"); err != nil {
				return d, err
			}
		}
	}
	switch {
	case c.Recipe != "":
		appends := make([]string, len(c.BBAppend))
		for i, a := range c.BBAppend {
			appends[i] = oracleRoot + "/" + a
		}
		return d.Recipe(oracleRoot+"/"+c.Recipe, appends...)
	case c.Finalize:
		return d, d.Finalize()
	}
	return d, nil
}

// verdict is the outcome of comparing one case.
type verdict struct {
	wrong   []string
	unknown []string // "variable: reason"
	values  int
	stuck   bool // there is no answer to compare with
	refused bool // both refuse the configuration
}

func compareCase(c *oracleCase) (v verdict) {
	d, err := evalCase(c)
	if c.Want.Stuck {
		v.stuck = true
		return v
	}
	bad := func(format string, args ...any) { v.wrong = append(v.wrong, fmt.Sprintf(format, args...)) }
	if (err == nil) != c.Want.OK {
		bad("error %v, BitBake: %+v", err, c.Want.Error)
		return v
	}
	v.refused = err != nil
	for _, name := range c.Vars {
		if v.refused {
			break
		}
		want, asked := c.Want.Vars[name]
		if !asked {
			continue
		}
		v.values++
		got, ok, err := d.Get(name)
		if err == nil && !got.Known {
			v.unknown = append(v.unknown, name+": "+got.Why)
			continue
		}
		if (err != nil) != (want.XErr != "") {
			bad("%s: error %v, BitBake: %q", name, err, want.XErr)
			continue
		}
		if err == nil && !same(want.V, got, ok) {
			bad("%s = %s, BitBake: %s", name, show(got, ok), showPtr(want.V))
		}
		raw, rawOK, rawErr := d.Unexpanded(name)
		if wantRaw := cmpOr(want.U, want.V); rawErr == nil && raw.Known && !same(wantRaw, raw, rawOK) {
			bad("%s unexpanded %s, BitBake: %s", name, show(raw, rawOK), showPtr(wantRaw))
		}
		compareFlags(d, name, want.Flags, bad)
		if want.H != nil {
			compareHistory(d, name, want.H, bad)
		}
	}
	return v
}

func cmpOr(a, b *string) *string {
	if a != nil {
		return a
	}
	return b
}

func same(want *string, got bitbake.Value, ok bool) bool {
	if want == nil {
		return !ok
	}
	return ok && strip(got.Text) == *want
}

func show(v bitbake.Value, ok bool) string {
	if !ok {
		return "unset"
	}
	return strconv.Quote(strip(v.Text))
}

func showPtr(s *string) string {
	if s == nil {
		return "unset"
	}
	return strconv.Quote(*s)
}

func compareFlags(d *bitbake.Datastore, name string, want map[string]json.RawMessage, bad func(string, ...any)) {
	// EXPORT_FUNCTIONS sets flags to None, which is the same as no flag.
	maps.DeleteFunc(want, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	names := d.Flags(name)
	if wantNames := slices.Sorted(maps.Keys(want)); !slices.Equal(names, wantNames) {
		bad("%s flags %v, BitBake: %v", name, names, wantNames)
		return
	}
	for _, f := range names {
		got, _ := d.GetFlag(name, f)
		var v any
		if err := json.Unmarshal(want[f], &v); err != nil {
			bad("%s[%s]: %v", name, f, err)
			continue
		}
		text := fmt.Sprint(v)
		if list, ok := v.([]any); ok {
			text = strings.Trim(fmt.Sprint(list), "[]")
		}
		if got.Known && strip(got.Text) != text {
			bad("%s[%s] = %q, BitBake: %q", name, f, got.Text, text)
		}
	}
}

// compareHistory compares label, file:line and flag of each event; events
// that BitBake makes on its own account are not in the vectors.
func compareHistory(d *bitbake.Datastore, name string, want [][]any, bad func(string, ...any)) {
	var got []string
	for _, e := range d.History(name) {
		if e.Internal {
			continue
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s:%d %s", e.Label(), strip(e.Pos.File), e.Line(), e.Flag)))
	}
	var wants []string
	for _, h := range want {
		parts := make([]string, 0, 3)
		for i, x := range h {
			if s, ok := x.(string); ok && i < 3 {
				parts = append(parts, s)
			}
		}
		wants = append(wants, strings.Join(parts, " "))
	}
	if !slices.Equal(got, wants) {
		bad("%s history\n  %s\nBitBake:\n  %s", name, strings.Join(got, "\n  "), strings.Join(wants, "\n  "))
	}
}

// tally adds up verdicts and fails the test on every wrong one.
type tally struct {
	cases, values, unknown int
	stuck, refused         int
	reasons                map[string]int
}

func (a *tally) add(t *testing.T, c *oracleCase, v verdict) {
	t.Helper()
	a.cases++
	a.values += v.values
	a.unknown += len(v.unknown)
	if v.stuck {
		a.stuck++
	}
	if v.refused {
		a.refused++
	}
	if a.reasons == nil {
		a.reasons = map[string]int{}
	}
	for _, u := range v.unknown {
		a.reasons[u]++
	}
	if len(v.wrong) > 0 {
		var b strings.Builder
		for _, name := range slices.Sorted(maps.Keys(c.Files)) {
			fmt.Fprintf(&b, "--- %s\n%s\n", name, c.Files[name])
		}
		t.Errorf("case %s: %s\n%s", c.ID, strings.Join(v.wrong, "\n"), b.String())
	}
}

func (a *tally) log(t *testing.T) {
	t.Helper()
	t.Logf("%d configurations (%d refused by both, %d without end in BitBake), %d values compared, %d unknown", a.cases, a.refused, a.stuck, a.values, a.unknown)
	for _, r := range slices.Sorted(maps.Keys(a.reasons)) {
		t.Logf("unknown (%d): %s", a.reasons[r], r)
	}
}
