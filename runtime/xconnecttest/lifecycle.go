package xconnecttest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// getInfo is the plan's request, which the provider of its rest example answers.
const getInfo = "GET /info HTTP/1.0\r\n\r\n"

// restLink runs do once for every rest link that is there.
func (p *probe) restLink(ctx context.Context, do func(pvctrl.Link) error) error {
	return p.each(ctx, "rest", "pv-example-rest-server and "+restClient, func(l pvctrl.Link) error { return p.socket(ctx, l) }, do)
}

// answer asks a provider through a link and wants a whole answer.
func (p *probe) answer(ctx context.Context, l pvctrl.Link, half bool) (string, error) {
	text, err := p.exchange(ctx, l, getInfo, half)
	what := fmt.Sprintf("GET /info at %s in %s", l.Target, l.Consumer)
	if half {
		what += ", sending side closed"
	}
	p.saw(what, text, err)
	if err != nil {
		return "", err
	}
	if text == "" {
		return "", errors.New("the connection ended without an answer")
	}
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		return "", fmt.Errorf("the answer is no HTTP: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "", fmt.Errorf("the answer is not whole: %w", err)
	case resp.StatusCode != http.StatusOK:
		return "", fmt.Errorf("the status is %d and should be 200", resp.StatusCode)
	case len(body) == 0:
		return "", errors.New("the answer has no body")
	}
	return string(body), nil
}

func request(ctx context.Context, p *probe) error {
	return p.restLink(ctx, func(l pvctrl.Link) error {
		_, err := p.answer(ctx, l, false)
		return err
	})
}

// halfClose: the answer must not depend on the consumer's sending side.
func halfClose(ctx context.Context, p *probe) error {
	return p.restLink(ctx, func(l pvctrl.Link) error {
		whole, err := p.answer(ctx, l, false)
		if err != nil {
			return err
		}
		after, err := p.answer(ctx, l, true)
		if err == nil && after != whole {
			err = fmt.Errorf("after a half-close the body is %q, and without %q", shown(after), shown(whole))
		}
		return err
	})
}

const (
	daemon = "pv-xconnect"
	// spare is how many descriptors more are still near what there was: the
	// graph is fetched now and then, and what is over closes a little later.
	spare = 10
)

func descriptors(ctx context.Context, p *probe) error {
	var link pvctrl.Link
	if err := p.restLink(ctx, func(l pvctrl.Link) error { link = l; return nil }); err != nil {
		return err
	}
	pid, err := p.daemon(ctx)
	if err != nil {
		return err
	}
	before, err := p.open(pid)
	if err != nil {
		return skip("the descriptors of %s cannot be seen: %v", daemon, err)
	}
	for range p.Connects {
		if _, err := p.exchange(ctx, link, getInfo, true); err != nil {
			return err
		}
	}
	var after int
	err = p.eventually(ctx, func() (err error) {
		if after, err = p.open(pid); err == nil && after > before+spare {
			err = fmt.Errorf("%d connections left %d descriptors: %d before, %d after", p.Connects, after-before, before, after)
		}
		return err
	})
	if err != nil {
		return err
	}
	return note("%d connections: %d descriptors before, %d after", p.Connects, before, after)
}

// daemon finds the process of pv-xconnect.
func (p *probe) daemon(ctx context.Context) (int, error) {
	list, err := p.ctrl.Daemons(ctx)
	if err != nil {
		p.saw("GET /daemons", "", err)
		return 0, err
	}
	pid := 0
	for _, d := range list {
		if d.Name == daemon {
			pid = d.PID
		}
	}
	p.saw("GET /daemons", fmt.Sprintf("%s has the pid %d", daemon, pid), nil)
	if pid <= 0 {
		return 0, fmt.Errorf("%s does not run", daemon)
	}
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || !strings.Contains(string(line), daemon) {
		return 0, skip("process %d is not %s on this machine: run this where the runtime runs", pid, daemon)
	}
	return pid, nil
}

// open counts the descriptors of a process.
func (p *probe) open(pid int) (int, error) {
	list, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	p.saw(fmt.Sprintf("descriptors of process %d", pid), strconv.Itoa(len(list)), err)
	return len(list), err
}
