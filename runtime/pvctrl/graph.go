package pvctrl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// Limits of a graph document. The largest device graph we know of has fewer
// than a hundred links.
const (
	MaxGraphBytes = 16 << 20
	MaxGraphLinks = 1 << 16
	maxText       = 4096 // PATH_MAX; longer names and paths cannot exist
)

// HostName is the provider name of what the runtime itself offers: the hosted
// system bus. Its pid is 0 and its paths are the host's.
const HostName = "_pv_"

// Link is an entry of the document behind GET /xconnect-graph: a consumer's
// requirement met by a provider's export.
type Link struct {
	Consumer    string
	ConsumerPID int // 0: not known, the container is not running
	Provider    string
	ProviderPID int // 0: not known
	Name        string
	Type        string
	Role        string
	Interface   string
	Target      string  // "" when the graph has null
	Socket      string  // path inside the provider
	UID         *uint32 // the role's uid on a hosted bus; nil elsewhere
}

// Graph is a decoded document. Entries that cannot be a link are left out, one
// line each in Problems; the others keep their order.
type Graph struct {
	Links    []Link
	Problems []string
}

// ErrNotGraph is returned for a document that is not a JSON array. Whoever
// reads graphs keeps the last good one.
var ErrNotGraph = errors.New("the graph is not a JSON array")

// DecodeGraph reads a whole graph, in however many reads it arrives. Unknown
// keys are ignored. Pids that are missing, negative or not a number are 0, as
// the runtime gives -1 before a container's first start.
func DecodeGraph(r io.Reader) (*Graph, error) {
	lim := &io.LimitedReader{R: r, N: MaxGraphBytes + 1}
	dec := json.NewDecoder(lim)
	fail := func(err error) (*Graph, error) {
		if lim.N <= 0 {
			err = fmt.Errorf("it is larger than %d bytes", MaxGraphBytes)
		}
		return nil, fmt.Errorf("decode graph at byte %d: %w", dec.InputOffset(), err)
	}
	tok, err := dec.Token()
	if err != nil {
		return fail(noEOF(err))
	}
	if tok != json.Delim('[') {
		return fail(ErrNotGraph)
	}
	g := &Graph{}
	for i := 0; dec.More(); i++ {
		if i == MaxGraphLinks {
			return fail(fmt.Errorf("it has more than %d links", MaxGraphLinks))
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return fail(noEOF(err))
		}
		l, err := decodeLink(raw)
		if err != nil {
			g.Problems = append(g.Problems, fmt.Sprintf("link %d: %v", i, err))
			continue
		}
		g.Links = append(g.Links, l)
	}
	if _, err := dec.Token(); err != nil { // the closing bracket
		return fail(noEOF(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fail(errors.New("something follows the array"))
	}
	return g, nil
}

// noEOF: a document that stops early is an error, not an end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// wire is an entry as it is written; the keys are those of the runtime's
// state.c. Numbers are raw, because older writers quote them.
type wire struct {
	Consumer    *string         `json:"consumer"`
	ConsumerPID json.RawMessage `json:"consumer_pid"`
	Provider    *string         `json:"provider"`
	ProviderPID json.RawMessage `json:"provider_pid"`
	Name        *string         `json:"name"`
	Type        *string         `json:"type"`
	Role        *string         `json:"role"`
	Interface   *string         `json:"interface"`
	Target      *string         `json:"target"`
	Socket      *string         `json:"socket"`
	UID         json.RawMessage `json:"uid"`
}

func decodeLink(raw []byte) (Link, error) {
	if len(raw) == 0 || raw[0] != '{' {
		return Link{}, errors.New("it is not an object")
	}
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		return Link{}, err
	}
	l := Link{ConsumerPID: number(w.ConsumerPID), ProviderPID: number(w.ProviderPID)}
	for _, f := range []struct {
		key      string
		from     *string
		to       *string
		required bool
	}{
		{"consumer", w.Consumer, &l.Consumer, true},
		{"provider", w.Provider, &l.Provider, false},
		{"name", w.Name, &l.Name, true},
		{"type", w.Type, &l.Type, true},
		{"role", w.Role, &l.Role, false},
		{"interface", w.Interface, &l.Interface, false},
		{"target", w.Target, &l.Target, false},
		{"socket", w.Socket, &l.Socket, true},
	} {
		switch {
		case f.from == nil || *f.from == "":
			if f.required {
				return Link{}, fmt.Errorf("it has no %s", f.key)
			}
		case len(*f.from) > maxText:
			return Link{}, fmt.Errorf("its %s is longer than %d bytes", f.key, maxText)
		case bytes.IndexByte([]byte(*f.from), 0) >= 0:
			return Link{}, fmt.Errorf("its %s has a NUL byte", f.key)
		default:
			*f.to = *f.from
		}
	}
	uid, err := uidOf(w.UID)
	l.UID = uid
	return l, err
}

// number reads a pid. Whatever is not a positive number is "not known".
func number(raw json.RawMessage) int {
	n, err := strconv.ParseInt(string(bytes.Trim(raw, `"`)), 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int(n)
}

// uidOf reads the role's uid. It is an identity, so a broken one is refused:
// treating it as absent would pick another identity.
func uidOf(raw json.RawMessage) (*uint32, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	n, err := strconv.ParseUint(string(bytes.Trim(raw, `"`)), 10, 32)
	if err != nil || n == math.MaxUint32 { // (uid_t)-1 means "no uid" to the kernel
		return nil, fmt.Errorf("its uid %s is not a user id", raw)
	}
	uid := uint32(n)
	return &uid, nil
}

// EncodeGraph writes the document. A pid that is not known is -1, as the
// runtime writes it before a container's first start; the host's is 0.
func EncodeGraph(links []Link) []byte {
	buf := []byte{'['}
	for i, l := range links {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendText(append(buf, `{"consumer":`...), l.Consumer)
		buf = appendPID(append(buf, `,"consumer_pid":`...), l.Consumer, l.ConsumerPID)
		buf = appendText(append(buf, `,"provider":`...), l.Provider)
		buf = appendPID(append(buf, `,"provider_pid":`...), l.Provider, l.ProviderPID)
		for _, m := range []struct{ key, value string }{
			{"name", l.Name}, {"type", l.Type}, {"role", l.Role}, {"interface", l.Interface},
		} {
			buf = appendText(append(append(append(buf, `,"`...), m.key...), `":`...), m.value)
		}
		buf = appendOptional(append(buf, `,"target":`...), l.Target)
		buf = appendOptional(append(buf, `,"socket":`...), l.Socket)
		if l.UID != nil {
			buf = strconv.AppendUint(append(buf, `,"uid":`...), uint64(*l.UID), 10)
		}
		buf = append(buf, '}')
	}
	return append(buf, ']')
}

func appendPID(buf []byte, name string, pid int) []byte {
	if pid <= 0 && name != HostName {
		pid = -1
	}
	return strconv.AppendInt(buf, int64(max(pid, -1)), 10)
}

func appendText(buf []byte, text string) []byte {
	var w bytes.Buffer
	enc := json.NewEncoder(&w)
	enc.SetEscapeHTML(false)
	if enc.Encode(text) != nil { // a string has a form in JSON, whatever its bytes
		return append(buf, "null"...)
	}
	return append(buf, bytes.TrimSuffix(w.Bytes(), []byte("\n"))...)
}

func appendOptional(buf []byte, text string) []byte {
	if text == "" {
		return append(buf, "null"...)
	}
	return appendText(buf, text)
}
