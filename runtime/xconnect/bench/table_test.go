package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// table has a row for each thing that was measured and a column for each route.
type table struct {
	rows, ways []string
	cells      map[[2]string]float64
}

func (t *table) put(row, way string, v float64) {
	if !slices.Contains(t.rows, row) {
		t.rows = append(t.rows, row)
	}
	if !slices.Contains(t.ways, way) {
		t.ways = append(t.ways, way)
	}
	if t.cells == nil {
		t.cells = map[[2]string]float64{}
	}
	t.cells[[2]string{row, way}] = v
}

// forget drops what a load has put for a route: it runs more than once, longer
// each time, and only a run that ends well counts.
func (t *table) forget(load, way string) {
	for k := range t.cells {
		if k[1] == way && strings.HasPrefix(k[0], load+" ") {
			delete(t.cells, k)
		}
	}
}

// String has the ratio of pv-xconnect to each other route behind the figures.
func (t *table) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	const ours = "pv-xconnect"
	fmt.Fprint(w, "\n\t")
	for _, way := range t.ways {
		fmt.Fprint(w, way, "\t")
	}
	for _, way := range t.ways {
		if way != ours {
			fmt.Fprint(w, "÷ ", way, "\t")
		}
	}
	for _, row := range t.rows {
		fmt.Fprint(w, "\n", row, "\t")
		for _, way := range t.ways {
			if v, ok := t.cells[[2]string{row, way}]; ok {
				fmt.Fprintf(w, "%.4g", v)
			}
			fmt.Fprint(w, "\t")
		}
		for _, way := range t.ways {
			if way == ours {
				continue
			}
			v, ok := t.cells[[2]string{row, way}]
			if mine, also := t.cells[[2]string{row, ours}]; ok && also && v != 0 {
				fmt.Fprintf(w, "%.2f", mine/v)
			}
			fmt.Fprint(w, "\t")
		}
	}
	fmt.Fprintln(w)
	w.Flush()
	return b.String()
}

func TestTable(t *testing.T) {
	var x table
	x.put("a MB/s", "direct", 10)
	x.put("a MB/s", "pv-xconnect", 5)
	x.put("b µs", "pv-xconnect", 1234.5)
	const want = "\n" +
		"          direct  pv-xconnect  ÷ direct\n" +
		"  a MB/s      10            5      0.50\n" +
		"    b µs                 1234          \n"
	if got := x.String(); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
