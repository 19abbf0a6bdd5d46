package pvctrltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

func readTests() []Test {
	return []Test{
		{Number: 1, Name: "buildinfo", run: testBuildInfo},
		{Number: 2, Name: "containers: list", run: testContainers},
		{Number: 3, Name: "groups: list", run: testGroups},
		{Number: 4, Name: "steps: list", run: testSteps},
		{Number: 5, Name: "steps: state", run: testState},
		{Number: 6, Name: "steps: progress", run: testProgress},
		{Number: 7, Name: "configuration", run: testConfig},
		{Number: 21, Name: "xconnect graph", run: testGraph},
		{Number: 22, Name: "drivers: list", run: testDrivers},
		{Number: 23, Name: "drivers: load and unload", run: testLoadDrivers},
	}
}

func testBuildInfo(ctx context.Context, p *probe) error {
	r, err := p.get(ctx, "/buildinfo")
	if err != nil {
		return err
	}
	if err := r.is(200, "text/plain"); err != nil {
		return err
	}
	if len(r.body) == 0 {
		return note("it is empty, as in an appengine")
	}
	return nil
}

// require checks that an object has keys of a type: "string", "array", "number",
// "bool", and "null" as an alternative.
func require(entry map[string]any, keys ...string) error {
	for _, key := range keys {
		name, types, _ := strings.Cut(key, " ")
		v, ok := entry[name]
		if !ok {
			return fmt.Errorf("it has no %s", name)
		}
		if !slices.Contains(strings.Split(types, "|"), typeOf(v)) {
			return fmt.Errorf("its %s is %v and not a %s", name, v, types)
		}
	}
	return nil
}

func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "bool"
	case float64:
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// entries is a list whose entries all have the keys.
func entries(ctx context.Context, p *probe, path string, keys ...string) ([]map[string]any, error) {
	all, err := list[[]map[string]any](ctx, p, path)
	for i, e := range all {
		if err := require(e, keys...); err != nil {
			return nil, fmt.Errorf("GET %s: entry %d: %w", path, i, err)
		}
	}
	return all, err
}

func find(all []map[string]any, key, value string) map[string]any {
	for _, e := range all {
		if e[key] == value {
			return e
		}
	}
	return nil
}

func testContainers(ctx context.Context, p *probe) error {
	all, err := entries(ctx, p, "/containers", "name string", "group string|null", "status string", "status_goal string", "restart_policy string", "roles array")
	if err != nil {
		return err
	}
	for _, e := range all {
		status, err := pvctrl.ParseStatus(e["status"].(string))
		goal, errGoal := pvctrl.ParseStatus(e["status_goal"].(string))
		if err := errors.Join(err, errGoal); err != nil {
			return fmt.Errorf("container %s: %w", e["name"], err)
		}
		if example := e["name"] == p.Provider || e["name"] == p.Consumer; example && status != goal {
			return fmt.Errorf("container %s is %s and should be %s", e["name"], status, goal)
		}
	}
	if find(all, "name", p.Provider) == nil || find(all, "name", p.Consumer) == nil {
		return note("%d containers; %s and %s of the plan are not loaded", len(all), p.Provider, p.Consumer)
	}
	return nil
}

func testGroups(ctx context.Context, p *probe) error {
	all, err := entries(ctx, p, "/groups", "name string", "status_goal string", "restart_policy string", "status string")
	if err != nil {
		return err
	}
	for _, name := range []string{"data", "root", "platform", "app"} {
		if find(all, "name", name) == nil {
			return fmt.Errorf("there is no group %s", name)
		}
	}
	return nil
}

func testSteps(ctx context.Context, p *probe) error {
	all, err := entries(ctx, p, "/steps", "name string", "date string", "commitmsg string", "progress object")
	if err != nil {
		return err
	}
	if find(all, "name", "0") == nil {
		return errors.New("there is no revision 0")
	}
	return nil
}

// state fetches the state of a revision.
func (p *probe) state(ctx context.Context, rev string) ([]byte, error) {
	r, err := p.get(ctx, "/steps/"+rev)
	if err != nil {
		return nil, err
	}
	if err := r.is(200, "application/json"); err != nil {
		return nil, fmt.Errorf("GET /steps/%s: %w", rev, err)
	}
	var state map[string]json.RawMessage
	if err := json.Unmarshal(r.body, &state); err != nil {
		return nil, fmt.Errorf("GET /steps/%s: %w", rev, err)
	}
	if len(state["#spec"]) == 0 {
		return nil, fmt.Errorf("GET /steps/%s: the state has no #spec", rev)
	}
	return r.body, nil
}

func testState(ctx context.Context, p *probe) error {
	current, err := p.state(ctx, "current")
	if err != nil {
		return err
	}
	zero, err := p.state(ctx, "0")
	if err != nil {
		return err
	}
	if string(current) != string(zero) {
		return note("current is not revision 0")
	}
	return nil
}

func testProgress(ctx context.Context, p *probe) error {
	doc, err := list[map[string]any](ctx, p, "/steps/0/progress")
	if err != nil {
		return err
	}
	if err := require(doc, "status string", "status-msg string", "progress number", "retries number"); err != nil {
		return err
	}
	if doc["status"] != "DONE" || doc["progress"] != 100.0 {
		return fmt.Errorf("the factory revision is %v at %v%% and should be DONE at 100%%", doc["status"], doc["progress"])
	}
	return nil
}

func testConfig(ctx context.Context, p *probe) error {
	old, err := list[map[string]any](ctx, p, "/config")
	if err != nil {
		return err
	}
	if _, ok := old["log.level"]; !ok {
		return errors.New("GET /config: there is no log.level")
	}
	all, err := entries(ctx, p, "/config2", "key string", "value string", "modified string")
	if err != nil {
		return err
	}
	for _, key := range []string{"PV_SYSTEM_INIT_MODE", "PV_LOG_LEVEL"} {
		if find(all, "key", key) == nil {
			return fmt.Errorf("GET /config2: there is no %s", key)
		}
	}
	return nil
}

func testGraph(ctx context.Context, p *probe) error {
	keys := []string{"consumer string", "consumer_pid number", "provider string", "provider_pid number", "name string",
		"type string", "role string", "interface string|null", "target string|null", "socket string"}
	all, err := entries(ctx, p, "/xconnect-graph", keys...)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e["consumer"] == p.Consumer && e["provider"] == p.Provider {
			if e["type"] != "unix" {
				return fmt.Errorf("the link of %s to %s has the type %s and should have unix", p.Consumer, p.Provider, e["type"])
			}
			return nil
		}
	}
	containers, err := list[[]map[string]any](ctx, p, "/containers")
	if err != nil {
		return err
	}
	if find(containers, "name", p.Provider) == nil || find(containers, "name", p.Consumer) == nil {
		return skip("%s and %s are not both loaded; the graph has %d links", p.Provider, p.Consumer, len(all))
	}
	return fmt.Errorf("there is no link of %s to %s", p.Consumer, p.Provider)
}

func testDrivers(ctx context.Context, p *probe) error {
	doc, err := list[any](ctx, p, "/drivers")
	if err != nil {
		return err
	}
	switch v := doc.(type) {
	case map[string]any:
		if len(v) == 0 {
			return nil // the host, or a container without drivers
		}
	case []any:
		for i, e := range v {
			entry, _ := e.(map[string]any)
			if err := require(entry, "name string", "type string", "status string"); err != nil {
				return fmt.Errorf("driver %d: %w", i, err)
			}
		}
		return nil
	}
	return errors.New("the answer is neither {} nor a list of drivers")
}

func testLoadDrivers(ctx context.Context, p *probe) error {
	if err := p.done(ctx, "PUT", "/drivers/load", ""); err != nil {
		return err
	}
	return p.done(ctx, "PUT", "/drivers/unload", "")
}
