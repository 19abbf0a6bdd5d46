package ctrl_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/unixsock"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl"
	"github.com/pvkit/pvkit/runtime/appengine/ctrl/ctrltest"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

func dial(t testing.TB, socket string) *net.UnixConn {
	t.Helper()
	c, err := unixsock.Dial(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

var date = regexp.MustCompile(`Date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT\r\n`)

// talk sends the bytes, closes the sending side, and gives all that comes.
func talk(t testing.TB, socket, request string) string {
	t.Helper()
	c := dial(t, socket)
	go func() { // a refused request may not be read to its end
		io.WriteString(c, request)
		c.CloseWrite()
	}()
	answer, err := io.ReadAll(c)
	if err != nil && len(answer) == 0 {
		return "error: " + err.Error()
	}
	return date.ReplaceAllString(string(answer), "Date: D\r\n")
}

const (
	json10 = "\r\nContent-Type: application/json\r\n\r\n"
	page   = "\r\nContent-Type: text/html\r\nConnection: close\r\nDate: D\r\nContent-Length: 33\r\n\r\n{\"Error\": \"Unsupported protocol\"}"
	daemon = `[{"name":"hwrngd","pid":0,"respawn":true},{"name":"pv-xconnect","pid":1099,"respawn":true}]`
	ok10   = "HTTP/1.0 200 OK" + json10 + daemon
	ok11   = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: D\r\nContent-Length: 91\r\n\r\n" + daemon
	last11 = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: D\r\nContent-Length: 91\r\nConnection: close\r\n\r\n" + daemon
	done11 = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: D\r\nContent-Length: 0\r\n\r\n"
)

func unknown10(target string) string {
	return "HTTP/1.0 400 Bad Request" + json10 + `{"Error":"unknown endpoint: ` + target + `"}`
}

// How requests are framed and found, byte for byte.
func TestWire(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(pvctrl.HostName)})
	get := func(target string) string { return "GET " + target + " HTTP/1.0\r\n\r\n" }
	long := strings.Repeat("s", 255)
	for _, c := range []struct{ name, request, want string }{
		{"1.0", get("/daemons"), ok10},
		{"1.0 with a length for nothing", "GET /daemons HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", ok10},
		{"1.0 kept alive", "GET /daemons HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" + get("/daemons"),
			"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nConnection: keep-alive\r\nContent-Length: 91\r\n\r\n" + daemon + ok10},
		{"1.1 without a host", "GET /daemons HTTP/1.1\r\n\r\n", ok11},
		{"1.1 to be closed", "GET /daemons HTTP/1.1\r\nConnection: foo, close\r\n\r\nGET", last11},
		{"pipelined, with bodies", "PUT /user-meta/a HTTP/1.1\r\nContent-Length: 1\r\n\r\nxGET /daemons HTTP/1.1\r\nContent-Length: 2\r\n\r\nyzGET /daemons HTTP/1.1\r\nConnection: close\r\n\r\n",
			done11 + ok11 + last11},
		{"a later version", "GET /daemons HTTP/1.7\r\nConnection: close\r\n\r\n", last11},
		{"bare line feeds", "GET /daemons HTTP/1.0\nHost: localhost\n\n", ok10},
		{"an empty line first", "\r\n" + get("/daemons"), ok10},
		{"nothing but empty lines", "\r\n\r\n\r\n\r\n\r\n\r\n", "HTTP/1.1 400 Bad Request" + page},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 Bad Request" + page},
		{"HTTP/0.9", "GET /daemons\r\n\r\n", "HTTP/1.1 400 Bad Request" + page},
		{"a blank in the target", "GET /daemons /x HTTP/1.0\r\n\r\n", "HTTP/1.1 400 Bad Request" + page},
		{"a control character", "GET /daemons\x01 HTTP/1.0\r\n\r\n", "HTTP/1.1 400 Bad Request" + page},
		{"a field without a colon", "GET /daemons HTTP/1.0\r\nwhat\r\n\r\n", "HTTP/1.1 400 Bad Request" + page},
		{"a head that ends early", "GET /daemons HTTP/1.0\r\nHost: local", "HTTP/1.1 400 Bad Request" + page},
		{"nothing", "", ""},
		{"PATCH", "PATCH /daemons HTTP/1.0\r\n\r\n", "HTTP/1.1 501 Not Implemented" + page},
		{"OPTIONS", "OPTIONS * HTTP/1.1\r\n\r\n", "HTTP/1.1 501 Not Implemented" + page},
		{"HEAD on 1.1 has no body", "HEAD /daemons HTTP/1.1\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nDate: D\r\nContent-Length: 50\r\nConnection: close\r\n\r\n"},

		{"identity", "PUT /user-meta/a HTTP/1.1\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx", done11},
		{"identity on 1.0", "PUT /user-meta/a HTTP/1.0\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.0 200 OK" + json10},
		{"chunks on 1.0", "PUT /user-meta/a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "HTTP/1.0 200 OK" + json10},
		{"chunks with extension and trailer", "PUT /user-meta/a HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n1;a=b\r\nx\r\n0\r\nA: b\r\n\r\nGET /daemons HTTP/1.1\r\n\r\n", done11 + ok11},
		{"gzip", "PUT /user-meta/a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "HTTP/1.1 501 Not Implemented" + page},
		{"chunks and a length", "PUT /user-meta/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\nx\r\n0\r\n\r\n", "HTTP/1.1 400 Bad Request" + page},
		{"two lengths", "PUT /user-meta/a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "HTTP/1.1 400 Bad Request" + page},
		{"the same length twice", "PUT /user-meta/a HTTP/1.0\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.0 200 OK" + json10},
		{"a length below nothing", "PUT /user-meta/a HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400 Bad Request" + page},
		{"a length of 2^63", "PUT /user-meta/a HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n\r\n", "HTTP/1.1 400 Bad Request" + page},
		{"a chunk that is none", "PUT /user-meta/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 Bad Request" + page},
		{"a body that ends early", "PUT /user-meta/a HTTP/1.1\r\nContent-Length: 5\r\n\r\nx", "HTTP/1.1 400 Bad Request" + page},
		{"chunks that end early", "PUT /user-meta/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx", "HTTP/1.1 400 Bad Request" + page},
		{"expects something else", "PUT /user-meta/a HTTP/1.1\r\nExpect: tea\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 417 Expectation Failed" + page},
		{"1.0 expects nothing", "PUT /user-meta/a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.0 200 OK" + json10},
		{"a refused body is not asked for", "PUT /user-meta/a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9999\r\n\r\n",
			"HTTP/1.1 507 Insufficient Storage\r\nContent-Type: application/json\r\nDate: D\r\nContent-Length: 43\r\nConnection: close\r\n\r\n{\"Error\":\"Not enough disk space available\"}"},

		{"localhost", "GET /daemons HTTP/1.0\r\nHost: localhost\r\n\r\n", ok10},
		{"localhost with a port", "GET /daemons HTTP/1.0\r\nHost: localhost:8080\r\n\r\n", ok10},
		{"an empty host", "GET /daemons HTTP/1.0\r\nHost:\r\n\r\n", ok10},
		{"localhost with a word for a port", "GET /daemons HTTP/1.0\r\nHost: localhost:x\r\n\r\n", ""},
		{"an address", "GET /daemons HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", ""},
		{"another host", "GET /daemons HTTP/1.1\r\nHost: evil.example\r\n\r\n", ""},
		{"another host second", "GET /daemons HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", ""},
		{"a host in the target", get("http://localhost/daemons"), ok10},
		{"another one in the target", "GET http://evil.example/daemons HTTP/1.0\r\nHost: localhost\r\n\r\n", ""},
		{"two slashes are a host", get("//daemons"), ""},
		{"which may be localhost", get("//localhost/daemons"), ok10},
		{"a user in the host", get("//localhost@evil/daemons"), ""},

		{"a query", get("/daemons?a=b"), ok10},
		{"a query with a slash", get("/daemons?a=/b"), ok10},
		{"a fragment", get("/daemons#x"), ok10},
		{"percent", get("/%64aemons"), ok10},
		{"a slash at the end", get("/daemons/"), unknown10("/daemons/")},
		{"no slash", get("daemons"), unknown10("daemons")},
		{"root", get("/"), unknown10("/")},
		{"a quote is escaped", get(`/"\`), unknown10(`/\u0022\u005C`)},
		{"slashes in a row", get("/steps//0"), "HTTP/1.0 200 OK" + json10 + `{"#spec":"pantavisor-service-system@1"}`},
		{"a query is a part of a name", get("/steps/0?x"), "HTTP/1.0 404 Not Found" + json10 + `{"Error":"Resource does not exist"}`},
		{"a name is not decoded", get("/steps/%30"), "HTTP/1.0 404 Not Found" + json10 + `{"Error":"Resource does not exist"}`},
		{"a local revision called progress", get("/steps/locals/progress"), "HTTP/1.0 404 Not Found" + json10 + `{"Error":"Resource does not exist"}`},
		{"dots", get("/steps/locals/.."), "HTTP/1.0 404 Not Found" + json10 + `{"Error":"Resource does not exist"}`},
		{"a key of dots", "PUT /user-meta/.. HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.0 400 Bad Request" + json10 + `{"Error":"Cannot add or update user meta"}`},
		{"a revision of dots", "PUT /steps/locals/.. HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.0 400 Bad Request" + json10 + `{"Error":"Request has bas step name"}`},
		{"255 bytes", get("/steps/" + long), "HTTP/1.0 404 Not Found" + json10 + `{"Error":"Resource does not exist"}`},
		{"256 bytes", get("/steps/s" + long), unknown10("/steps/s" + long)},
		{"eleven segments", get("/a/a/a/a/a/a/a/a/a/a/a"), unknown10("/a/a/a/a/a/a/a/a/a/a/a")},
	} {
		if got := talk(t, socket, c.request); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

// The client waits for the word to go on, and gets it when the body is wanted.
func TestContinue(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	c := dial(t, serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(pvctrl.HostName)}))
	io.WriteString(c, "PUT /user-meta/a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
	br := bufio.NewReader(c)
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} {
		if line, err := br.ReadString('\n'); err != nil || line != want {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
	}
	io.WriteString(c, "xGET /user-meta HTTP/1.1\r\n\r\n")
	for _, want := range []string{"", `{"a":"x"}`} {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(body) != want {
			t.Errorf("%d %q, %v", resp.StatusCode, body, err)
		}
	}
}

// Some clients parse what their first read returns and drop the connection: a
// reply is one write, head and body.
func TestReplyIsOneWrite(t *testing.T) {
	m := ctrltest.NewMachine(nil)
	var links []pvctrl.Link
	for range 100 {
		links = append(links, pvctrl.Link{Consumer: "consumer", Provider: "provider", Name: "name", Type: "unix", Socket: "/run/socket"})
	}
	m.SetLinks(links)
	socket := serve(t, ctrl.Options{Backend: m.Backend(), Owner: as(pvctrl.HostName)})
	for _, version := range []string{"1.0", "1.1"} {
		c := dial(t, socket)
		io.WriteString(c, "GET /xconnect-graph HTTP/"+version+"\r\n\r\n")
		buf := make([]byte, 64<<10)
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := bytes.Cut(buf[:n], []byte("\r\n\r\n"))
		if g, err := pvctrl.DecodeGraph(bytes.NewReader(body)); err != nil || len(g.Links) != 100 {
			t.Errorf("HTTP/%s: the first read has %d bytes: %v", version, n, err)
		}
	}
}
