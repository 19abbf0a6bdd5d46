package pvcontrol

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
)

// printTable prints a list for people: an array of objects with a column for
// each key, or an object with a row for each.
func (s *session) printTable(ctx context.Context, path string, columns []string) int {
	return s.with(ctx, request{path: path}, func(body io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(body, maxState))
		if err != nil {
			return err
		}
		rows, err := tableRows(b)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, strings.ToUpper(strings.Join(titles(columns), "\t")))
		for _, row := range rows {
			cells := make([]string, len(columns))
			for i, c := range columns {
				cells[i] = cell(row, c)
			}
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
		w.Flush()
		return s.print(&out)
	})
}

// titles are the last words of dotted keys.
func titles(columns []string) []string {
	t := slices.Clone(columns)
	for i, c := range t {
		t[i] = c[strings.LastIndexByte(c, '.')+1:]
	}
	return t
}

func tableRows(b []byte) ([]map[string]any, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		return entries(bytes.NewReader(b))
	}
	var one map[string]any
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&one); err != nil {
		return nil, fmt.Errorf("the answer is no JSON: %w", err)
	}
	var rows []map[string]any
	for _, k := range slices.Sorted(maps.Keys(one)) {
		rows = append(rows, map[string]any{"key": k, "value": one[k]})
	}
	return rows, nil
}

// cell is the text of a value; a dotted column looks into an object.
func cell(row map[string]any, column string) string {
	if first, rest, ok := strings.Cut(column, "."); ok {
		inner, _ := row[first].(map[string]any)
		return cell(inner, rest)
	}
	switch v := row[column].(type) {
	case nil:
		return "-"
	case string:
		if v == "" {
			return "-"
		}
		return strings.Map(func(r rune) rune { // a value must not move the cursor
			if unicode.IsControl(r) {
				return '?'
			}
			return r
		}, v)
	case []any:
		var words []string
		for _, w := range v {
			words = append(words, fmt.Sprint(w))
		}
		if len(words) == 0 {
			return "-"
		}
		return strings.Join(words, ",")
	case map[string]any:
		b, _ := json.Marshal(v) // came from JSON
		return string(b)
	default:
		return fmt.Sprint(v)
	}
}
