package pvctrl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pvkit/pvkit/internal/unixsock"
)

// DefaultSocket is where the runtime listens on a device.
const DefaultSocket = "/run/pantavisor/pv/pv-ctrl"

// answerTime is how long a server may take over an answer; one that accepts and
// never answers must not hold us.
const answerTime = 10 * time.Second

// Client asks one pv-ctrl server. It may be used from many goroutines. Every
// request has a connection of its own, as the server expects.
type Client struct {
	http *http.Client
}

// NewClient makes a client for the server at the socket's path, of any length.
func NewClient(socket string) *Client {
	return &Client{&http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return unixsock.Dial(ctx, "unix", socket)
			},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
			ExpectContinueTimeout:  time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// StatusError is an answer other than the one asked for.
type StatusError struct {
	Status     int
	Text       string        // what the body says, at most a line
	RetryAfter time.Duration // 0: the server does not say
}

func (e *StatusError) Error() string {
	if e.Text == "" {
		return "pv-ctrl answers " + strconv.Itoa(e.Status)
	}
	return fmt.Sprintf("pv-ctrl answers %d: %s", e.Status, e.Text)
}

// statusError reads the text out of {"Error":"…"}, or takes the body's first
// line.
func statusError(status int, header http.Header, body []byte) *StatusError {
	e := &StatusError{Status: status}
	var doc struct{ Error string }
	if json.Unmarshal(body, &doc) == nil && doc.Error != "" {
		body = []byte(doc.Error)
	}
	text, _, _ := strings.Cut(string(body[:min(len(body), 200)]), "\n")
	e.Text = strings.ToValidUTF8(text, "?")
	if n, err := strconv.ParseUint(header.Get("Retry-After"), 10, 31); err == nil {
		e.RetryAfter = time.Duration(n) * time.Second
	}
	return e
}

// Reply is an answer to a request for the graph.
type Reply struct {
	Graph *Graph // nil: it is still the one with the tag that was asked about
	Tag   string // "" when the server gives none
	Waits bool   // the server holds a request until the graph changes
}

// Graph fetches the service graph. With the tag of an earlier reply, a server
// that can tells that nothing changed (RFC 9110 §13.1.2), and one that
// implements the preference holds its answer until something does, at most for
// wait (RFC 7240 §4.3). Any other server answers at once with the whole graph,
// which is as right and less quick: the caller then asks again after a while.
func (c *Client) Graph(ctx context.Context, tag string, wait time.Duration) (*Reply, error) {
	r, err := c.graph(ctx, tag, wait)
	if err != nil {
		return nil, fmt.Errorf("fetch the graph: %w", err)
	}
	return r, nil
}

func (c *Client) graph(ctx context.Context, tag string, wait time.Duration) (*Reply, error) {
	limit := answerTime
	seconds := int(wait / time.Second)
	if tag == "" {
		seconds = 0
	}
	ctx, cancel := context.WithTimeout(ctx, limit+time.Duration(seconds)*time.Second)
	defer cancel()
	req, err := newRequest(ctx, http.MethodGet, "/xconnect-graph", nil)
	if err != nil {
		return nil, err
	}
	if tag != "" {
		req.Header.Set("If-None-Match", tag)
	}
	if seconds > 0 {
		req.Header.Set("Prefer", "wait="+strconv.Itoa(seconds))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, plain(err)
	}
	defer resp.Body.Close()
	reply := &Reply{
		Tag:   resp.Header.Get("ETag"),
		Waits: strings.Contains(resp.Header.Get("Preference-Applied"), "wait"),
	}
	switch {
	case resp.StatusCode == http.StatusNotModified && tag != "":
		reply.Tag = tag
		return reply, nil
	case resp.StatusCode != http.StatusOK:
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorText)) // what could be read will do
		return nil, statusError(resp.StatusCode, resp.Header, text)
	}
	reply.Graph, err = DecodeGraph(resp.Body)
	return reply, err
}

// plain takes off what net/http says about a made-up address.
func plain(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
