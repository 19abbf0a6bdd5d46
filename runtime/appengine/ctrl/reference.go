package ctrl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// Reference is the API's reference page in Markdown, made from [Routes].
func Reference() string {
	var b strings.Builder
	b.WriteString(`# pv-ctrl

The API of the runtime's control socket, HTTP on a unix socket. This page is made from the
table in routes.go: ` + "`UPDATE_GOLDEN=1 go test -run Reference ./runtime/appengine/ctrl`" + `.

Who: **mgmt** is the host and every container with the role mgmt, **anyone** is every container.
A request is checked in this order: the path, who sends it, the method, the role, and what the
endpoint asks for. Every refusal is ` + "`{\"Error\":\"text\"}`" + `. A path with a name in braces takes
the name as it was sent; other paths are decoded and may have a query, which means nothing.

| Request | Who | Body | What it is |
|---|---|---|---|
`)
	table := Routes()
	for _, r := range table {
		fmt.Fprintf(&b, "| `%s %s` | %s | %s | %s |\n", r.Method, r.Path, r.Access, r.limit(), cell(r.Summary))
	}
	b.WriteString("\n## What every endpoint refuses\n\n| Status | Text | When |\n|---|---|---|\n")
	for _, e := range []struct {
		status     int
		text, when string
	}{
		{400, "unknown endpoint: /the/path", "there is no such path; never 404"},
		{500, "Internal Error", "nobody knows who the caller is; `Internal error, unknown caller` on a path with a name"},
		{400, "Method not supported for this endpoint", "the path is known, with other methods"},
		{403, "Request not sent from a mgmt platform", "the caller does not have the role; without the `a` on a path with a name"},
		{507, ErrNoSpace.Text, "the body is larger than it may be, or the storage is full"},
	} {
		fmt.Fprintf(&b, "| %d | `%s` | %s |\n", e.status, e.text, e.when)
	}
	b.WriteString("\n`{\"Error\": \"Unsupported protocol\"}` as text/html answers what is not a request of this API at all:\n" +
		"400 (malformed), 408 (too slow), 413 (a head of more than 64 KiB), 417 (an unknown expectation),\n" +
		"501 (another method or transfer coding). A request for a host other than localhost has no answer.\n" +
		"503 `Too many connections. Try again` comes before any request.\n" +
		"\n## What each endpoint refuses\n\n| Request | Status | Text | Retry-After |\n|---|---|---|---|\n")
	for _, r := range table {
		for _, e := range r.refusals() {
			retry := ""
			if e.RetryAfter > 0 {
				retry = fmt.Sprintf("%d s", e.RetryAfter)
			}
			fmt.Fprintf(&b, "| `%s %s` | %d %s | `%s` | %s |\n", r.Method, r.Path, e.Status, statusText(e.Status), e.Text, retry)
		}
	}
	b.WriteString("\nA 204 has no body: the text says only why there was nothing to be done.\n")
	describeEvents(&b)
	return b.String()
}

func describeEvents(b *strings.Builder) {
	b.WriteString("\n## Events\n\n" +
		"`GET /events` is a `text/event-stream`, which ends only with the client, the server, or a client that is\n" +
		"too slow. A comment every 15 s is a sign of life. `Last-Event-ID` asks for what came after that event.\n\n" +
		"| Event | Data | When |\n|---|---|---|\n")
	for _, e := range []struct{ name, data, when string }{
		{pvctrl.EventContainer, "an entry of `/containers`", "its status has changed"},
		{pvctrl.EventGroup, "an entry of `/groups`", "its status has changed"},
		{pvctrl.EventGraph, "`{\"tag\":\"…\",\"links\":n}`", "`/xconnect-graph` is another one, with this entity tag"},
		{pvctrl.EventDaemon, "an entry of `/daemons`", "it was started or has ended"},
		{pvctrl.EventProgress, "`{\"name\":\"revision\",\"progress\":{…}}`", "the installation of a revision goes on"},
		{pvctrl.EventMissed, "`{}`", "first of all, when the events after Last-Event-ID are not all known any more"},
		{pvctrl.EventDropped, "`{}`", "last of all, when the client has left too much unread"},
	} {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", e.name, e.data, e.when)
	}
}

// refusals are all of an endpoint's own ones, each once.
func (r *Route) refusals() []*Error {
	all := slices.Clone(r.Refuses)
	for _, e := range []*Error{r.Missing, r.Failed} {
		if e != nil && !slices.Contains(all, e) {
			all = append(all, e)
		}
	}
	return all
}

func (r *Route) limit() string {
	switch {
	case r.Limit == Unlimited:
		return "any size"
	case r.Limit == 0:
		return ""
	case r.Limit >= 1<<20:
		return fmt.Sprintf("at most %d MiB", r.Limit>>20)
	}
	return fmt.Sprintf("at most %d bytes", r.Limit)
}

// cell keeps a bar out of a table's columns.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
