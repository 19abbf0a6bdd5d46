package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/pvkit/pvkit/runtime/appengine"
	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// upView shows what an engine does. On a terminal a table of what runs stays
// below the lines; elsewhere there are lines only. The engine calls it from one
// goroutine at a time.
type upView struct {
	out     liveLines
	json    bool
	live    func() (width, height int) // of the terminal, nil for none
	storage string
	names   *strings.Replacer // of files

	rows  []upRow
	links []pvctrl.Link
	began time.Time
}

type upRow struct {
	name, status string
	pid          int
	since        time.Time
}

func newUpView(env Env, f upFlags, opts appengine.Options) *upView {
	v := &upView{out: liveLines{w: env.Stdout}, json: f.json, storage: opts.Storage, began: time.Now()}
	file, ok := env.Stdout.(*os.File)
	if ok && !f.json && !f.logs && env.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd())) {
		v.live = func() (int, int) {
			w, h, err := term.GetSize(int(file.Fd()))
			if err != nil || w <= 0 || h <= 0 {
				return 80, 24
			}
			return w, h
		}
	}
	return v
}

// event shows one.
func (v *upView) event(e appengine.Event) {
	e.Text = v.names.Replace(e.Text)
	if v.json {
		if b, err := json.Marshal(e); err == nil {
			_, _ = v.out.w.Write(append(b, '\n'))
		}
		return
	}
	text := v.note(e)
	if text != "" {
		text = v.stamp(e.Time) + text + "\n"
	}
	v.draw(text)
}

func (v *upView) stamp(t time.Time) string {
	return fmt.Sprintf("%7.2f  ", t.Sub(v.began).Seconds())
}

// note remembers an event for the table and returns the line for it, if it
// wants one.
func (v *upView) note(e appengine.Event) string {
	switch e.Kind {
	case appengine.EventServing:
		return fmt.Sprintf("pv-ctrl answers: pvcontrol -s %s ls", e.Text)
	case appengine.EventContainer:
		was := v.row(e)
		onItsWay := e.Status == "INSTALLED" || e.Status == "MOUNTED" || e.Status == "BLOCKED"
		ended := e.Status == "STOPPED" && was != "STOPPING" // by itself
		if onItsWay || v.live != nil && !ended {
			return "" // the table has it
		}
		if e.Status == "RECOVERING" {
			e.Text = "" // it was said before
		}
	case appengine.EventSystem:
		if e.Status != "READY" {
			return ""
		}
		return fmt.Sprintf("READY: revision %s; what it says: pvkit logs -f --storage %s", e.Revision, v.storage)
	case appengine.EventLinks:
		return v.newLinks(e.Links)
	case appengine.EventRestart:
		v.rows, v.links = nil, nil
	}
	return e.String()
}

// row remembers a container's status and returns the one it had.
func (v *upView) row(e appengine.Event) (was string) {
	i := slices.IndexFunc(v.rows, func(r upRow) bool { return r.name == e.Container })
	if i < 0 {
		i = len(v.rows)
		v.rows = append(v.rows, upRow{name: e.Container})
	}
	was = v.rows[i].status
	v.rows[i] = upRow{e.Container, e.Status, e.PID, e.Time}
	return was
}

// newLinks says which links have become possible.
func (v *upView) newLinks(links []pvctrl.Link) string {
	var lines []string
	for _, l := range links {
		known := slices.ContainsFunc(v.links, func(o pvctrl.Link) bool {
			return o.Consumer == l.Consumer && o.Name == l.Name && o.Target == l.Target
		})
		if !known {
			lines = append(lines, fmt.Sprintf("link %s (%s): %s -> %s", l.Name, l.Type, l.Consumer, l.Provider))
		}
	}
	v.links = links
	if v.live != nil {
		return ""
	}
	return strings.Join(lines, "\n"+strings.Repeat(" ", len(v.stamp(time.Now()))))
}

// draw prints text above the table.
func (v *upView) draw(text string) {
	var lines []string
	if v.live != nil && len(v.rows) > 0 {
		lines = v.table()
	}
	v.out.draw(text, lines)
}

// table is the table as lines that fit the terminal.
func (v *upView) table() []string {
	rows := [][]string{{"NAME", "STATUS", "PID", "SINCE", "LINKED TO"}}
	for _, r := range v.rows {
		pid := "-"
		if r.pid > 0 {
			pid = strconv.Itoa(r.pid)
		}
		var to []string
		for _, l := range v.links {
			if l.Consumer == r.name {
				to = append(to, l.Provider+" ("+l.Name+")")
			}
		}
		rows = append(rows, []string{r.name, r.status, pid, r.since.Format("15:04:05"), strings.Join(to, ", ")})
	}
	var all strings.Builder
	_ = table(&all, rows) // a Builder takes everything
	lines := strings.Split(strings.TrimSuffix(all.String(), "\n"), "\n")
	width, height := v.live()
	// What has scrolled out at the top cannot be drawn again.
	if most := max(height-3, 1); len(lines) > most {
		more := len(lines) - most + 1
		lines = append(lines[:most-1], fmt.Sprintf("and %d more", more))
	}
	for i, line := range lines {
		lines[i] = shorten(line, max(width-1, 10))
	}
	return slices.Insert(lines, 0, "")
}

// finish leaves the last table where it is.
func (v *upView) finish() { v.out.drawn = 0 }
