package cli

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/pvkit/pvkit/pvrexport/container"
)

// lineWidth is how long a line of progress gets at most.
const lineWidth = 80

// progress shows what a batch of builds is doing: on a terminal a line for each
// running build that changes in place, elsewhere a line when a build is done.
type progress struct {
	live  bool
	quiet bool
	width int
	ended func() error // not nil when the whole batch is given up

	mu   sync.Mutex // guards all below
	jobs []jobState
	out  liveLines
	last time.Time // when they were drawn
}

type jobState struct {
	label       string
	stage       container.Stage
	done, total int64
	start       time.Time
	took        time.Duration
	running     bool
}

func newProgress(ctx context.Context, env Env, jobs []container.Job, quiet bool) *progress {
	p := &progress{out: liveLines{w: env.Stderr}, quiet: quiet, width: lineWidth, ended: ctx.Err}
	if f, ok := env.Stderr.(*os.File); ok && !quiet && env.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd())) {
		p.live = true
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			p.width = min(w-1, lineWidth)
		}
	}
	for _, j := range jobs {
		label := shorten(j.Def.Name, 30)
		if j.Arch != "" {
			label += " " + string(j.Arch)
		}
		p.jobs = append(p.jobs, jobState{label: label})
	}
	return p
}

// Progress notes how far a job is and draws ten times a second at most.
func (p *progress) Progress(job int, s container.Stage, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := &p.jobs[job]
	if !j.running {
		j.running, j.start = true, time.Now()
	}
	news := j.stage != s
	j.stage, j.done, j.total = s, done, total
	if p.live && (news || time.Since(p.last) > 100*time.Millisecond) {
		p.draw("")
	}
}

// Done prints the line that stays.
func (p *progress) Done(job int, r *container.Result, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := &p.jobs[job]
	if j.running {
		j.took = time.Since(j.start)
	}
	j.running = false
	switch {
	case p.ended() != nil: // what fails now fails because of that
	case err != nil:
		p.draw(fmt.Sprintf("pvkit: %v\n", err))
	case p.quiet:
	default:
		p.draw(shorten(fmt.Sprintf("built %s: %s in %s", j.label, sizeText(r.Size), seconds(j.took)), p.width) + "\n")
	}
}

// finish takes the live lines away.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.jobs {
		p.jobs[i].running = false
	}
	p.draw("")
}

func (p *progress) took(job int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return seconds(p.jobs[job].took)
}

// draw prints text above the lines of the jobs that run.
func (p *progress) draw(text string) {
	var lines []string
	for _, j := range p.jobs {
		if p.live && j.running {
			lines = append(lines, shorten(j.line(), p.width))
		}
	}
	p.last = time.Now()
	p.out.draw(text, lines)
}

func (j jobState) line() string {
	s := fmt.Sprintf("%s: %s", j.label, j.stage)
	if j.total > 0 {
		s += fmt.Sprintf(" %3d %% of %s", j.done*100/j.total, sizeText(j.total))
	}
	return s + " " + seconds(time.Since(j.start))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
