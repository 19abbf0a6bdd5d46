package rest_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/xconnect/plugins/rest"
)

const ours = "X-PV-Client: web\r\nX-PV-Role: admin\r\n\r\n"

func TestRequests(t *testing.T) {
	get := "GET /a HTTP/1.1\r\nHost: localhost\r\n"
	for name, tt := range map[string]struct{ in, want string }{
		"one":                {get + "\r\n", get + ours},
		"HTTP/1.0":           {"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\n" + ours},
		"keep-alive":         {get + "\r\n" + get + "\r\n" + get + "\r\n", get + ours + get + ours + get + ours},
		"claimed":            {get + "X-PV-Role: root\r\nx-pv-client: forged\r\nX-Pv-Other: 1\r\n\r\n", get + ours},
		"claimed twice":      {get + "X-PV-Role: root\r\nA: b\r\nX-PV-ROLE: root\r\n\r\n", get + "A: b\r\n" + ours},
		"claimed in CGI":     {get + "X_PV_Role: root\r\nX-PV_Client: x\r\n\r\n", get + ours},
		"near misses":        {get + "X-PVRole: a\r\nXX-PV-Role: b\r\n\r\n", get + "X-PVRole: a\r\nXX-PV-Role: b\r\n" + ours},
		"dropped by name":    {get + "Connection: keep-alive, X-PV-Role\r\n\r\n", get + "Connection: keep-alive\r\n" + ours},
		"only dropped":       {get + "Connection: x-pv-role\r\n\r\n", get + ours},
		"white space":        {get + "A:  \t b c \r\n\r\n", get + "A: b c\r\n" + ours},
		"line feeds":         {"GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nHost: x\r\n" + ours},
		"empty lines before": {"\r\n\n" + get + "\r\n", get + ours},
		"body":               {"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" + get + "\r\n", "POST / HTTP/1.1\r\nContent-Length: 5\r\n" + ours + "hello" + get + ours},
		"body that looks like a request": {"POST / HTTP/1.1\r\nContent-Length: 18\r\n\r\nX-PV-Role: root\r\n\r" + get + "\r\n",
			"POST / HTTP/1.1\r\nContent-Length: 18\r\n" + ours + "X-PV-Role: root\r\n\r" + get + ours},
		"chunks": {"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n" + get + "\r\n",
			"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n" + ours + "5\r\nhello\r\na\r\n0123456789\r\n0\r\n\r\n" + get + ours},
		"trailers": {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nSum: 1\r\nX-PV-Role: root\r\nContent-Length: 3\r\n\r\n",
			"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + ours + "0\r\nSum: 1\r\n\r\n"},
		"identity": {"PUT / HTTP/1.1\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx", "PUT / HTTP/1.1\r\nContent-Length: 1\r\n" + ours + "x"},
		"upgrade":  {get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", get + "Connection: Upgrade\r\nUpgrade: websocket\r\n" + ours},
		"upgrade to HTTP/2": {get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
			get + "Connection: Upgrade, HTTP2-Settings\r\n" + ours},
		"upgrade to TLS":  {get + "Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n\r\n", get + "Connection: Upgrade\r\n" + ours},
		"upgrade to some": {get + "Upgrade: H2C, websocket,TLS/1.2 , x/1\r\n\r\n", get + "Upgrade: websocket, x/1\r\n" + ours},
		"upgrade later":   {get + "\r\n" + get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", get + ours + get + ours},
		"HTTP/1.0 can't":  {"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "GET / HTTP/1.0\r\n" + ours},
		"nothing":         {"", ""},
		"expect":          {"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx", "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n" + ours + "x"},
		"a head of 60 kB": {get + "A: " + strings.Repeat("x", 60_000) + "\r\n\r\n", get + "A: " + strings.Repeat("x", 60_000) + "\r\n" + ours},
	} {
		for _, piece := range []int{1, 7, 1 << 20} { // however it comes
			got, err := rest.Relay([]byte(tt.in), piece, "web", "admin")
			if err != nil || string(got) != tt.want {
				t.Errorf("%s, by %d: %v\ngot  %.300q\nwant %.300q", name, piece, err, got, tt.want)
			}
		}
	}
}

// What two readers could understand differently never reaches the provider.
func TestRefused(t *testing.T) {
	post := "POST / HTTP/1.1\r\nHost: x\r\n"
	chunked := post + "Transfer-Encoding: chunked\r\n"
	for in, want := range map[string]string{
		post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n":  "together",
		chunked + "Content-Length: 5\r\n\r\n":                             "together",
		post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n":           "two lines",
		post + "Content-Length: 5, 5\r\n\r\n":                             "not a number",
		post + "Content-Length: +5\r\n\r\n":                               "not a number",
		post + "Content-Length: -1\r\n\r\n":                               "not a number",
		post + "Content-Length: 0x5\r\n\r\n":                              "not a number",
		post + "Content-Length:\r\n\r\n":                                  "empty",
		post + "Content-Length: 99999999999999999999\r\n\r\n":             "too large",
		chunked + "Transfer-Encoding: chunked\r\n\r\n":                    "two lines",
		post + "Transfer-Encoding: gzip, chunked\r\n\r\n":                 "only Transfer-Encoding",
		post + "Transfer-Encoding: xchunked\r\n\r\n":                      "only Transfer-Encoding",
		post + "Transfer-Encoding: \x0bchunked\r\n\r\n":                   "control character",
		post + "Transfer-Encoding : chunked\r\n\r\n":                      "not NAME: VALUE",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n":           "in HTTP/1.0",
		post + "A: b\r\n X-PV-Role: root\r\n\r\n":                         "folded",
		post + "X-PV-Role\r\n: root\r\n\r\n":                              "not NAME: VALUE",
		post + "A: b\rX-PV-Role: root\r\n\r\n":                            "bare CR",
		post + "A: b\x00\r\n\r\n":                                         "control character",
		post + "A b: c\r\n\r\n":                                           "not NAME: VALUE",
		post + "A\r\n\r\n":                                                "not NAME: VALUE",
		"GET / HTTP/1.1\rX: y\r\n\r\n":                                    "bare CR",
		"GET /a b HTTP/1.1\r\n\r\n":                                       "505",
		"GET  / HTTP/1.1\r\n\r\n":                                         "METHOD TARGET VERSION",
		"GET /\r\n\r\n":                                                   "METHOD TARGET VERSION",
		"GET /\x80 HTTP/1.1\r\n\r\n":                                      "percent-encoded",
		"GET / HTTP/2.0\r\n\r\n":                                          "505",
		"GET / http/1.1\r\n\r\n":                                          "505",
		"CONNECT x:1 HTTP/1.1\r\n\r\n":                                    "501",
		" GET / HTTP/1.1\r\n\r\n":                                         "METHOD TARGET VERSION",
		"GET / HTTP/1.1\r\nHost: x":                                       "ended within a head",
		"GET / HTTP/1.1\r\nA: " + strings.Repeat("x", 70_000):             "431",
		"GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 20_000):         "431",
		chunked + "\r\n5\r\nhello!\r\n0\r\n\r\n":                          "longer than its size",
		chunked + "\r\n5\r\nhello\r\r\n0\r\n\r\n":                         "CRLF",
		chunked + "\r\n5\nhello\r\n0\r\n\r\n":                             "CRLF",
		chunked + "\r\n+5\r\nhello\r\n0\r\n\r\n":                          "not a number",
		chunked + "\r\n0x5\r\nhello\r\n0\r\n\r\n":                         "not a number",
		chunked + "\r\n5_0\r\nhello\r\n0\r\n\r\n":                         "not a number",
		chunked + "\r\n\r\n":                                              "no usable size",
		chunked + "\r\nfffffffffffffffff\r\n":                             "no usable size",
		chunked + "\r\n5;a\x00\r\nhello\r\n0\r\n\r\n":                     "control character",
		chunked + "\r\n5;" + strings.Repeat("x", 5000) + "\r\n":           "too long",
		chunked + "\r\n0\r\n X: y\r\n\r\n":                                "folded",
		chunked + "\r\n0\r\n" + strings.Repeat("A: b\r\n", 5000) + "\r\n": "too large",
		chunked + "\r\n5\r\nhel":                                          "within its body",
		post + "Content-Length: 5\r\n\r\nhel":                             "within its body",
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			got, err := rest.Relay([]byte(in), piece, "web", "admin")
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%.100q, by %d: %v, want %q", in, piece, err, want)
			}
			if strings.Contains(string(got), "root") {
				t.Errorf("%.100q, by %d: the provider got %q", in, piece, got)
			}
		}
	}
}

// Whatever comes in, each request that the provider reads has our identity, once.
func FuzzRelay(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\nX-PV-Role: root\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-PV-Role: root\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: x-pv-role, close\r\n\r\nabcGET / HTTP/1.1\n\n",
		"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx",
	} {
		f.Add([]byte(s), 5)
	}
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		if len(in) > 100_000 {
			return
		}
		out, err := rest.Relay(in, max(len(in), 1), "web", "admin")
		if again, aerr := rest.Relay(in, max(piece, 1+len(in)/1000), "web", "admin"); (aerr == nil) != (err == nil) || err == nil && !bytes.Equal(again, out) {
			t.Fatalf("in one read %q, %v; in pieces of %d %q, %v", out, err, piece, again, aerr)
		}
		if err != nil {
			return
		}
		br := bufio.NewReader(bytes.NewReader(out))
		for {
			req, err := http.ReadRequest(br)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				// net/http is stricter about targets and hosts, and says so
				// before it reads a header line; framing is what must agree.
				return
			}
			for _, k := range []string{"X-Pv-Client", "X-Pv-Role"} {
				if v := req.Header[k]; len(v) != 1 {
					t.Fatalf("%s: %q in %q", k, v, out)
				}
			}
			if req.Header.Get("X-Pv-Client") != "web" || req.Header.Get("X-Pv-Role") != "admin" {
				t.Fatalf("identity %v in %q", req.Header, out)
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				t.Fatalf("body: %v in %q", err, out)
			}
			for k := range req.Trailer {
				if strings.HasPrefix(k, "X-Pv-") {
					t.Fatalf("trailer %s in %q", k, out)
				}
			}
		}
	})
}
