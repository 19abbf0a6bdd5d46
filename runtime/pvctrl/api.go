package pvctrl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// The methods here are one endpoint each. An answer that is no success is a
// [*StatusError], to be found with errors.As.

// Containers lists the containers of the running state.
func (c *Client) Containers(ctx context.Context) ([]Container, error) {
	return fetch[[]Container](ctx, c, "/containers")
}

// ContainerAction asks for "start", "stop" or "restart" of a container whose
// restart policy is "container". The container moves later.
func (c *Client) ContainerAction(ctx context.Context, name, action string) error {
	if err := segment("a container's name", name); err != nil {
		return err
	}
	return c.act(ctx, "/containers/"+name, action)
}

func (c *Client) act(ctx context.Context, path, action string) error {
	body, err := json.Marshal(map[string]string{"action": action})
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodPut, path, body)
	return err
}

// Groups lists the groups.
func (c *Client) Groups(ctx context.Context) ([]Group, error) {
	return fetch[[]Group](ctx, c, "/groups")
}

// Signal tells something about the container that this process is in.
func (c *Client) Signal(ctx context.Context, s Signal) error { return c.post(ctx, "/signal", s) }

// Command asks the runtime for an operation.
func (c *Client) Command(ctx context.Context, cmd Command) error {
	return c.post(ctx, "/commands", cmd)
}

func (c *Client) post(ctx context.Context, path string, doc any) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodPost, path, body)
	return err
}

// Objects lists the stored objects.
func (c *Client) Objects(ctx context.Context) ([]Object, error) {
	return fetch[[]Object](ctx, c, "/objects")
}

// Object reads an object. The caller closes it, and checks the digest: on a
// connection that breaks, HTTP/1.0 cannot tell the end from a part.
func (c *Client) Object(ctx context.Context, sha256 string) (io.ReadCloser, error) {
	if err := segment("an object's name", sha256); err != nil {
		return nil, err
	}
	resp, err := c.stream(ctx, http.MethodGet, "/objects/"+sha256, nil, 0, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// PutObject stores size bytes of r; with a size of -1 it sends chunks.
func (c *Client) PutObject(ctx context.Context, sha256 string, size int64, r io.Reader) error {
	if err := segment("an object's name", sha256); err != nil {
		return err
	}
	resp, err := c.stream(ctx, http.MethodPut, "/objects/"+sha256, r, size, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Steps lists the revisions.
func (c *Client) Steps(ctx context.Context) ([]Step, error) {
	return fetch[[]Step](ctx, c, "/steps")
}

// stepPath is "/steps/0", "/steps/current" or "/steps/locals/name".
func stepPath(rev string) (string, error) {
	if err := segment("a revision", strings.TrimPrefix(rev, "locals/")); err != nil {
		return "", err
	}
	return "/steps/" + rev, nil
}

// Step gives a revision's state as it is stored.
func (c *Client) Step(ctx context.Context, rev string) ([]byte, error) {
	path, err := stepPath(rev)
	if err != nil {
		return nil, err
	}
	return c.call(ctx, http.MethodGet, path, nil)
}

// PutStep stores the state of a local revision, "locals/name".
func (c *Client) PutStep(ctx context.Context, rev string, state []byte) error {
	path, err := stepPath(rev)
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodPut, path, state)
	return err
}

// Progress tells how far a revision's installation is.
func (c *Client) Progress(ctx context.Context, rev string) (Progress, error) {
	path, err := stepPath(rev)
	if err != nil {
		return Progress{}, err
	}
	return fetch[Progress](ctx, c, path+"/progress")
}

// PutCommitMsg stores a revision's message, of 1 to 256 bytes.
func (c *Client) PutCommitMsg(ctx context.Context, rev, msg string) error {
	path, err := stepPath(rev)
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodPut, path+"/commitmsg", []byte(msg))
	return err
}

// MetaKind is whose metadata it is.
type MetaKind string

// The kinds.
const (
	UserMeta   MetaKind = "user-meta"
	DeviceMeta MetaKind = "device-meta"
)

// Meta lists the entries, the newest key first.
func (c *Client) Meta(ctx context.Context, kind MetaKind) ([]MetaEntry, error) {
	text, err := c.call(ctx, http.MethodGet, "/"+string(kind), nil)
	if err != nil {
		return nil, err
	}
	all, err := DecodeMeta(text)
	if err != nil {
		return nil, fmt.Errorf("decode /%s: %w", kind, err)
	}
	return all, nil
}

// DecodeMeta reads the document of GET /user-meta in its order.
func DecodeMeta(text []byte) ([]MetaEntry, error) {
	var all []MetaEntry
	err := eachMember(text, func(key string, value json.RawMessage) error {
		e := MetaEntry{key, string(value)}
		if value[0] == '"' {
			if err := json.Unmarshal(value, &e.Value); err != nil {
				return err
			}
		}
		all = append(all, e)
		return nil
	})
	return all, err
}

// eachMember walks an object in its order.
func eachMember(text []byte, f func(key string, value json.RawMessage) error) error {
	if !json.Valid(text) {
		return fmt.Errorf("it is not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return fmt.Errorf("it is not an object")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		if err := f(key.(string), value); err != nil { // an object's keys are strings
			return err
		}
	}
	return nil
}

// PutMeta sets a value, of 1 to 4096 bytes.
func (c *Client) PutMeta(ctx context.Context, kind MetaKind, key, value string) error {
	if err := segment("a key", key); err != nil {
		return err
	}
	_, err := c.call(ctx, http.MethodPut, "/"+string(kind)+"/"+key, []byte(value))
	return err
}

// DeleteMeta takes a key away.
func (c *Client) DeleteMeta(ctx context.Context, kind MetaKind, key string) error {
	if err := segment("a key", key); err != nil {
		return err
	}
	_, err := c.call(ctx, http.MethodDelete, "/"+string(kind)+"/"+key, nil)
	return err
}

// Drivers lists the drivers of the container that this process is in.
func (c *Client) Drivers(ctx context.Context) ([]Driver, error) {
	text, err := c.call(ctx, http.MethodGet, "/drivers", nil)
	if err != nil || string(bytes.TrimSpace(text)) == "{}" { // what none is written as
		return nil, err
	}
	var all []Driver
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("decode /drivers: %w", err)
	}
	return all, nil
}

// LoadDrivers loads the container's manual drivers, or the one that is named.
func (c *Client) LoadDrivers(ctx context.Context, name string) error {
	return c.drivers(ctx, name, "load")
}

// UnloadDrivers is its opposite.
func (c *Client) UnloadDrivers(ctx context.Context, name string) error {
	return c.drivers(ctx, name, "unload")
}

func (c *Client) drivers(ctx context.Context, name, verb string) error {
	path := "/drivers/" + verb
	if name != "" {
		if err := segment("a driver's name", name); err != nil {
			return err
		}
		path = "/drivers/" + name + "/" + verb
	}
	_, err := c.call(ctx, http.MethodPut, path, []byte{})
	return err
}

// Config is the document of GET /config: an object by legacy names.
func (c *Client) Config(ctx context.Context) (map[string]any, error) {
	return fetch[map[string]any](ctx, c, "/config")
}

// Settings lists all settings.
func (c *Client) Settings(ctx context.Context) ([]Setting, error) {
	return fetch[[]Setting](ctx, c, "/config2")
}

// Daemons lists the runtime's daemons.
func (c *Client) Daemons(ctx context.Context) ([]Daemon, error) {
	return fetch[[]Daemon](ctx, c, "/daemons")
}

// DaemonAction asks for "start" or "stop" of a daemon.
func (c *Client) DaemonAction(ctx context.Context, name, action string) error {
	if err := segment("a daemon's name", name); err != nil {
		return err
	}
	return c.act(ctx, "/daemons/"+name, action)
}

// CollectGarbage removes what no revision needs and tells how many bytes that
// were.
func (c *Client) CollectGarbage(ctx context.Context) (int64, error) {
	text, err := c.call(ctx, http.MethodPost, "/storage/gc", []byte{})
	if err != nil {
		return 0, err
	}
	var doc struct {
		Reclaimed int64 `json:"reclaimed"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return 0, fmt.Errorf("decode /storage/gc: %w", err)
	}
	return doc.Reclaimed, nil
}

// BuildInfo is the text of the runtime's build.
func (c *Client) BuildInfo(ctx context.Context) ([]byte, error) {
	return c.call(ctx, http.MethodGet, "/buildinfo", nil)
}

// Wakelocks tells what keeps the device awake.
func (c *Client) Wakelocks(ctx context.Context) (Wakelocks, error) {
	return fetch[Wakelocks](ctx, c, "/wakelocks")
}
