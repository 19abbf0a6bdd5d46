package xconnect_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

func TestPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1, 2)
		m := newMesh(w)
		defer m.Stop()
		odd := link(`a"b\`, 1, 2)
		m.Apply([]xconnect.Link{odd, link("waits", 0, 2)})
		synctest.Wait()
		get := func(path string) string {
			rec := httptest.NewRecorder()
			xconnect.Page(m).ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
			if rec.Code != 200 {
				t.Errorf("%s: status %d", path, rec.Code)
			}
			return rec.Body.String()
		}
		var doc struct {
			Links  []xconnect.Status
			Bounds []int64 `json:"connect_latency_bounds_ns"`
		}
		if err := json.Unmarshal([]byte(get("/status")), &doc); err != nil {
			t.Fatal(err)
		}
		if len(doc.Links) != 2 || doc.Links[0].State != xconnect.Up || doc.Links[1].State != xconnect.Waiting || doc.Links[1].Reason == "" {
			t.Errorf("%+v", doc.Links)
		}
		if len(doc.Bounds) != len(doc.Links[0].Latency)-1 || doc.Bounds[0] != 100_000 {
			t.Errorf("bounds %v of %v", doc.Bounds, doc.Links[0].Latency)
		}
		text := get("/metrics")
		for _, want := range []string{
			"# TYPE pvxconnect_link_up gauge\n",
			`pvxconnect_link_up{consumer="c",name="a\"b\\",target="/t",type="fake"} 1` + "\n",
			`pvxconnect_link_up{consumer="c",name="waits",target="/t",type="fake"} 0` + "\n",
			`pvxconnect_connect_seconds_bucket{consumer="c",name="waits",target="/t",type="fake",le="+Inf"} 0` + "\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	})
}

func TestLatencyBuckets(t *testing.T) {
	s := new(xconnect.Stats)
	for _, d := range []time.Duration{0, 100 * time.Microsecond, 101 * time.Microsecond, time.Second, time.Hour} {
		s.Connected(d)
	}
	c := s.Read()
	if n := len(c.Latency); c.Latency[0] != 2 || c.Latency[1] != 1 || c.Latency[n-2] != 1 || c.Latency[n-1] != 1 {
		t.Errorf("%v", c.Latency)
	}
}
