package xconnecttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/testreport"
	"github.com/pvkit/pvkit/runtime/xconnect"
)

const (
	pollEvery  = 200 * time.Millisecond
	answerTime = 10 * time.Second // of a provider
	maxShown   = 600              // bytes of an answer that evidence keeps
	maxReply   = 16 << 20
)

// probe asks a runtime and keeps what it saw.
type probe struct {
	Options
	ctrl     *pvctrl.Client
	evidence testreport.Evidence
}

func skip(format string, args ...any) error {
	return testreport.End(testreport.Skip, format, args...)
}

func note(format string, args ...any) error {
	return testreport.End(testreport.Pass, format, args...)
}

// saw keeps evidence.
func (p *probe) saw(what, answer string, err error) {
	x := testreport.Exchange{Request: what, Reply: shown(answer)}
	if err != nil {
		x.Reply, x.Error = "", err.Error()
	}
	p.evidence.Add(x)
}

func shown(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// links are those of a type, or all for "".
func (p *probe) links(ctx context.Context, kind string) ([]pvctrl.Link, error) {
	reply, err := p.ctrl.Graph(ctx, "", 0)
	if err != nil {
		p.saw("GET /xconnect-graph", "", err)
		return nil, err
	}
	list := slices.DeleteFunc(reply.Graph.Links, func(l pvctrl.Link) bool { return kind != "" && l.Type != kind })
	var lines []string
	for _, l := range list {
		lines = append(lines, fmt.Sprintf("%s: %s (pid %d) → %s (pid %d) at %s", l.Type, l.Consumer, l.ConsumerPID, l.Provider, l.ProviderPID, l.Target))
	}
	p.saw("GET /xconnect-graph", strings.Join(lines, "; "), nil)
	return list, nil
}

// each runs a check for every link of a type until it holds, at most for the
// patience, and then once, if it is not nil, a check that must hold at once;
// without such a link the test is skipped.
func (p *probe) each(ctx context.Context, kind, examples string, check, once func(pvctrl.Link) error) error {
	list, err := p.links(ctx, kind)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return skip("the graph has no link of type %s: run %s", kind, examples)
	}
	for _, l := range list {
		now := l
		err := p.eventually(ctx, func() (err error) {
			if now, err = p.again(ctx, l); err != nil {
				return err
			}
			if err := p.running(ctx, now); err != nil {
				return err
			}
			return check(now)
		})
		if err == nil && once != nil {
			err = once(now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// again is the link as the graph has it now: its containers may have started
// anew.
func (p *probe) again(ctx context.Context, l pvctrl.Link) (pvctrl.Link, error) {
	list, err := p.links(ctx, l.Type)
	if err != nil {
		return l, err
	}
	i := slices.IndexFunc(list, func(o pvctrl.Link) bool {
		return o.Consumer == l.Consumer && o.Name == l.Name && o.Target == l.Target
	})
	if i < 0 {
		return l, fmt.Errorf("the link %s of %s is no longer in the graph", l.Name, l.Consumer)
	}
	return list[i], nil
}

// running checks that both ends of a link are.
func (p *probe) running(ctx context.Context, l pvctrl.Link) error {
	all, err := p.ctrl.Containers(ctx)
	if err != nil {
		p.saw("GET /containers", "", err)
		return err
	}
	for _, name := range []string{l.Provider, l.Consumer} {
		i := slices.IndexFunc(all, func(c pvctrl.Container) bool { return c.Name == name })
		switch {
		case name == pvctrl.HostName:
		case i < 0:
			return fmt.Errorf("%s has a link and is not among the containers", name)
		case all[i].Status != pvctrl.StatusStarted && all[i].Status != pvctrl.StatusReady:
			p.saw("status of "+name, all[i].Status.String(), nil)
			return fmt.Errorf("%s is %s and should run", name, all[i].Status)
		}
	}
	return nil
}

// eventually asks until cond says nil, or that the test is over, at most for the
// patience.
func (p *probe) eventually(ctx context.Context, cond func() error) error {
	deadline := time.Now().Add(p.Patience)
	for {
		err := cond()
		if err == nil || testreport.Judge(0, "", err).Verdict != testreport.Fail || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pollEvery):
		}
	}
}

// inside enters the consumer of a link.
func (p *probe) inside(ctx context.Context, l pvctrl.Link, do func(xconnect.Root) error) error {
	root, err := p.Inside.Enter(ctx, xconnect.Peer{Name: l.Consumer, PID: l.ConsumerPID})
	if err != nil {
		p.saw(fmt.Sprintf("enter %s, pid %d", l.Consumer, l.ConsumerPID), "", err)
		return err
	}
	defer root.Close()
	return do(root)
}

// dial connects to the target of a link, as a process of the consumer would.
func (p *probe) dial(ctx context.Context, l pvctrl.Link) (conn *net.UnixConn, err error) {
	err = p.inside(ctx, l, func(root xconnect.Root) error {
		for _, network := range []string{"unix", "unixpacket", "unixgram"} {
			if conn, err = root.Dial(ctx, network, l.Target); !errors.Is(err, syscall.EPROTOTYPE) {
				break
			}
		}
		return err
	})
	return conn, err
}

// socket checks that a consumer can connect to its target.
func (p *probe) socket(ctx context.Context, l pvctrl.Link) error {
	conn, err := p.dial(ctx, l)
	p.saw(fmt.Sprintf("connect to %s in %s", l.Target, l.Consumer), "connected", err)
	if err != nil {
		return err
	}
	return conn.Close()
}

// exchange sends a request to the target of a link and reads all that comes.
func (p *probe) exchange(ctx context.Context, l pvctrl.Link, request string, half bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	conn, err := p.dial(ctx, l)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return "", fmt.Errorf("send the request: %w", err)
	}
	if half {
		if err := conn.CloseWrite(); err != nil {
			return "", fmt.Errorf("close the sending side: %w", err)
		}
	}
	b, err := io.ReadAll(io.LimitReader(conn, maxReply))
	if err != nil {
		return string(b), fmt.Errorf("read the answer: %d bytes came: %w", len(b), err)
	}
	return string(b), nil
}
