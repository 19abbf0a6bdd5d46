package pvctrltest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

const daemonName = "pv-xconnect"

func daemonTests() []Test {
	return []Test{
		{Number: 17, Name: "daemons: list", run: func(ctx context.Context, p *probe) error {
			return p.daemonIs(ctx, true)
		}},
		{Number: 18, Name: "daemons: stop", run: func(ctx context.Context, p *probe) error {
			p.later(func(ctx context.Context) error { return p.daemon(ctx, "start") })
			if err := p.daemon(ctx, "stop"); err != nil {
				return err
			}
			return p.eventually(ctx, func() error { return p.daemonIs(ctx, false) })
		}},
		{Number: 19, Name: "daemons: start", run: func(ctx context.Context, p *probe) error {
			if err := p.daemon(ctx, "start"); err != nil {
				return err
			}
			return p.eventually(ctx, func() error { return p.daemonIs(ctx, true) })
		}},
		{Number: 20, Name: "daemons: stop one that is not there", run: func(ctx context.Context, p *probe) error {
			r, err := p.with(ctx, http.MethodPut, "/daemons/nonexistent-daemon", `{"action":"stop"}`)
			if err != nil {
				return err
			}
			return r.refused(404, "Daemon not found")
		}},
	}
}

func (p *probe) daemon(ctx context.Context, action string) error {
	return p.done(ctx, http.MethodPut, "/daemons/"+daemonName, `{"action":"`+action+`"}`)
}

// daemonIs checks whether the daemon runs, or has stopped.
func (p *probe) daemonIs(ctx context.Context, running bool) error {
	all, err := entries(ctx, p, "/daemons", "name string", "pid number", "respawn bool")
	if err != nil {
		return err
	}
	d := find(all, "name", daemonName)
	if d == nil {
		return fmt.Errorf("there is no daemon %s", daemonName)
	}
	if pid := d["pid"].(float64); d["respawn"] != running || (pid > 0) != running {
		return fmt.Errorf("%s has the pid %v and respawn %v; should it run: %t", daemonName, pid, d["respawn"], running)
	}
	return nil
}

func signalTests() []Test {
	signal := func(kind string) func(context.Context, *probe) error {
		return func(ctx context.Context, p *probe) error {
			r, err := p.with(ctx, http.MethodPost, "/signal", `{"type":"`+kind+`","payload":""}`)
			if err != nil {
				return err
			}
			if r.status == 200 && kind == "ready" {
				return note("200: the caller is a container whose goal is READY")
			}
			if err := r.refused(500, "Signal not expected from this platform"); err != nil {
				return err
			}
			return expected("500: the plan has 200, which only a container gets that is awaited to be ready")
		}
	}
	return []Test{
		{Number: 24, Name: "signal: ready", run: signal("ready")},
		{Number: 25, Name: "signal: alive", run: signal("alive")},
	}
}

// testControl stops and starts a container and restarts another.
func testControl(ctx context.Context, p *probe) error {
	first, second, err := p.controllable(ctx)
	if err != nil {
		return err
	}
	p.later(func(ctx context.Context) error { return p.startAgain(ctx, first) })
	r, err := p.control(ctx, first, "stop")
	if err != nil {
		return err
	}
	if r.status == 400 && (strings.Contains(string(r.body), "unknown endpoint") || strings.Contains(string(r.body), "Method not supported")) {
		return expected("400: this server is older than container control")
	}
	if err := r.is(200, ""); err != nil {
		return err
	}
	stopped := func(c map[string]any) bool { return c["status"] == "STOPPED" && c["user_stopped"] == "true" }
	if err := p.reaches(ctx, first, "STOPPED, by the user", stopped); err != nil {
		return err
	}
	if r, err = p.control(ctx, first, "start"); err != nil {
		return err
	}
	if err := r.is(200, ""); err != nil {
		return fmt.Errorf("start %s: %w", first, err)
	}
	runs := func(c map[string]any) bool { return c["status"] == c["status_goal"] && c["user_stopped"] == "false" }
	if err := p.reaches(ctx, first, "at its goal", runs); err != nil {
		return err
	}
	return p.testRestart(ctx, second, runs)
}

// testRestart restarts a container. Its new process shows in the graph, where
// the container is in it.
func (p *probe) testRestart(ctx context.Context, name string, runs func(map[string]any) bool) error {
	before, err := p.pid(ctx, name)
	if err != nil {
		return err
	}
	r, err := p.control(ctx, name, "restart")
	if err != nil {
		return err
	}
	if err := r.is(200, ""); err != nil {
		return fmt.Errorf("restart %s: %w", name, err)
	}
	if before > 0 {
		err = p.eventually(ctx, func() error {
			now, err := p.pid(ctx, name)
			if err == nil && (now == before || now <= 0) {
				err = fmt.Errorf("%s has the process %d after the restart, as before", name, now)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := p.reaches(ctx, name, "at its goal", runs); err != nil {
		return err
	}
	if before <= 0 {
		return note("whether %s has a new process is not to be seen: it has no link in the graph", name)
	}
	return nil
}

// pid is a container's process in the graph, 0 where it has no link.
func (p *probe) pid(ctx context.Context, name string) (int, error) {
	all, err := list[[]map[string]any](ctx, p, "/xconnect-graph")
	if err != nil {
		return 0, err
	}
	for _, e := range all {
		for _, side := range []string{"provider", "consumer"} {
			if pid, ok := e[side+"_pid"].(float64); ok && e[side] == name {
				return int(pid), nil
			}
		}
	}
	return 0, nil
}

func (p *probe) control(ctx context.Context, name, action string) (*reply, error) {
	return p.with(ctx, http.MethodPut, "/containers/"+name, `{"action":"`+action+`"}`)
}

// controllable picks the containers to stop and to restart: those of the plan,
// or others that may be controlled.
func (p *probe) controllable(ctx context.Context) (first, second string, err error) {
	all, err := list[[]map[string]any](ctx, p, "/containers")
	if err != nil {
		return "", "", err
	}
	var names []string
	for _, e := range all {
		name, _ := e["name"].(string)
		if e["restart_policy"] == "container" && e["status"] == e["status_goal"] {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "", "", skip("no running container has the restart policy container")
	}
	first, second = names[0], names[len(names)-1]
	for _, name := range names {
		switch name {
		case p.Consumer:
			first = name
		case p.Provider:
			second = name
		}
	}
	return first, second, nil
}

func (p *probe) reaches(ctx context.Context, name, what string, cond func(map[string]any) bool) error {
	return p.eventually(ctx, func() error {
		all, err := list[[]map[string]any](ctx, p, "/containers")
		if err != nil {
			return err
		}
		c := find(all, "name", name)
		if c == nil {
			return fmt.Errorf("container %s is gone", name)
		}
		if !cond(c) {
			return fmt.Errorf("%s is %v (user_stopped %v, goal %v) and should be %s", name, c["status"], c["user_stopped"], c["status_goal"], what)
		}
		return nil
	})
}

// startAgain is for a container that a failed test left stopped.
func (p *probe) startAgain(ctx context.Context, name string) error {
	all, err := list[[]map[string]any](ctx, p, "/containers")
	if err != nil {
		return err
	}
	if c := find(all, "name", name); c == nil || c["user_stopped"] != "true" {
		return nil
	}
	r, err := p.control(ctx, name, "start")
	if err == nil {
		err = r.is(200, "")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("container %s stays stopped", name), err)
	}
	return nil
}
