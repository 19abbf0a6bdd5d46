package xconnect

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Page serves what a mesh does: /status as JSON, /metrics as Prometheus text.
func Page(m *Mesh) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		// A reader that has gone is no error of ours.
		enc.Encode(map[string]any{"links": m.Status(), "connect_latency_bounds_ns": LatencyBounds})
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		WriteMetrics(w, m.Status())
	})
	return mux
}

// metric is a family of the text format: one line a link.
type metric struct {
	name, kind, help string
	value            func(Status) int64
}

var metrics = []metric{
	{"pvxconnect_link_up", "gauge", "1 while consumers can use the link.", func(s Status) int64 {
		if s.State == Up {
			return 1
		}
		return 0
	}},
	{"pvxconnect_link_attempts_total", "counter", "Times the link was tried.", func(s Status) int64 { return int64(s.Attempts) }},
	{"pvxconnect_connections", "gauge", "Connections that are open.", func(s Status) int64 { return s.Active }},
	{"pvxconnect_connections_total", "counter", "Connections so far.", func(s Status) int64 { return s.Total }},
	{"pvxconnect_refused_total", "counter", "Connections and requests that were refused.", func(s Status) int64 { return s.Refused }},
	{"pvxconnect_errors_total", "counter", "Errors of the link and its connections.", func(s Status) int64 { return s.Errors }},
	{"pvxconnect_to_provider_bytes_total", "counter", "Bytes passed to the provider.", func(s Status) int64 { return s.ToProvider }},
	{"pvxconnect_to_consumer_bytes_total", "counter", "Bytes passed to the consumer.", func(s Status) int64 { return s.ToConsumer }},
}

// WriteMetrics writes the links' counters in Prometheus' text format, version
// 0.0.4.
func WriteMetrics(w io.Writer, all []Status) error {
	var b strings.Builder
	for _, m := range metrics {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
		for _, s := range all {
			fmt.Fprintf(&b, "%s{%s} %d\n", m.name, labels(s), m.value(s))
		}
	}
	const hist = "pvxconnect_connect_seconds"
	fmt.Fprintf(&b, "# HELP %s Time from a consumer's connection to the provider's.\n# TYPE %s histogram\n", hist, hist)
	for _, s := range all {
		sum := int64(0)
		for i, n := range s.Latency {
			sum += n
			le := "+Inf"
			if i < len(LatencyBounds) {
				le = fmt.Sprint(LatencyBounds[i].Seconds())
			}
			fmt.Fprintf(&b, "%s_bucket{%s,le=%q} %d\n", hist, labels(s), le, sum)
		}
		fmt.Fprintf(&b, "%s_sum{%s} %g\n%s_count{%s} %d\n", hist, labels(s), time.Duration(s.LatencySumNS).Seconds(), hist, labels(s), sum)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func labels(s Status) string {
	return fmt.Sprintf(`consumer="%s",name="%s",target="%s",type="%s"`,
		escape.Replace(s.Consumer), escape.Replace(s.Name), escape.Replace(s.Target), escape.Replace(s.Type))
}
