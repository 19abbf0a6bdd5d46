package ctrl

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// What requests with a body are refused for.
var (
	errNoData      = failed(400, "No data")
	errNotJSON     = failed(400, "Invalid JSON")
	errNoAction    = failed(400, "Missing 'action' field")
	errAction      = failed(400, "Invalid action. Use 'start', 'stop', or 'restart'")
	errBadSignal   = failed(400, "Signal has bad format")
	errNoCommand   = failed(400, "No command found")
	errBadCommand  = failed(400, "Command has bad format")
	errNoCommitMsg = failed(400, "No commit message")
	errBusy        = &Error{Status: 503, Text: "Too many uploads. Try again", RetryAfter: 1}
)

// decodeAction reads {"action":"…"}; "" when there is none. Upstream's parser
// takes a bare word for a value without members, so what is not even the start
// of an object, an array or a string has no action and is not called broken.
func decodeAction(text []byte) (Action, error) {
	if len(text) == 0 {
		return "", errNoData
	}
	if !json.Valid(text) {
		if start := bytes.TrimLeft(text, " \t\r\n"); len(start) > 0 && strings.IndexByte(`{["`, start[0]) >= 0 {
			return "", errNotJSON
		}
		return "", nil
	}
	action, _ := member(text, "action")
	return Action(action), nil
}

// decodeSignal reads {"type":"…","payload":"…"}, of which the type is needed.
func decodeSignal(text []byte) (pvctrl.Signal, error) {
	typ, ok := member(text, "type")
	if !ok || typ == "" {
		return pvctrl.Signal{}, errBadSignal
	}
	payload, _ := member(text, "payload")
	return pvctrl.Signal{Type: typ, Payload: payload}, nil
}

// decodeCommand reads {"op":"…","payload":"…"}, of which both are needed. The
// operation must be one of the known ones, whole: upstream takes the start of a
// word for it, and nothing for the first of its list.
func decodeCommand(text []byte) (pvctrl.Command, error) {
	if len(text) == 0 {
		return pvctrl.Command{}, errNoCommand
	}
	op, _ := member(text, "op")
	payload, ok := member(text, "payload")
	if !ok {
		return pvctrl.Command{}, errBadCommand
	}
	switch op {
	case pvctrl.OpUpdateMetadata, pvctrl.OpRebootDevice, pvctrl.OpPoweroffDevice, pvctrl.OpTryOnce,
		pvctrl.OpLocalRun, pvctrl.OpLocalRunCommit, pvctrl.OpLocalApply, pvctrl.OpMakeFactory,
		pvctrl.OpRunGC, pvctrl.OpEnableSSH, pvctrl.OpDisableSSH, pvctrl.OpGoRemote,
		pvctrl.OpDeferReboot, pvctrl.OpUnclaim, pvctrl.OpXConnectGraph:
		return pvctrl.Command{Op: op, Payload: payload}, nil
	}
	return pvctrl.Command{}, errBadCommand
}

// member gives a string of an object. Numbers are given as they are written:
// a delay in seconds is sent in both forms.
func member(text []byte, key string) (string, bool) {
	var object map[string]json.RawMessage // not a struct: its fields match in any case
	if json.Unmarshal(text, &object) != nil {
		return "", false
	}
	raw, ok := object[key]
	if !ok || len(raw) == 0 {
		return "", false
	}
	switch c := raw[0]; {
	case c == '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err == nil
	case c == '-' || c >= '0' && c <= '9':
		return string(raw), true
	}
	return "", false
}
