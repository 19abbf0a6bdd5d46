package pvcontrol

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// group is a first word with its commands.
type group struct {
	names   []string // the first is the name
	summary string
	verbs   []verb
	bare    *verb // the group is one command itself
	example string
}

// verb is a command.
type verb struct {
	name    string
	also    []string // other names
	args    []arg
	summary string
	columns []string // of --table; nil: it has no table
	offline bool     // it asks no server
	run     func(ctx context.Context, s *session, v *verb, args []string) int
}

// arg is a word after a command. kind says how to complete it.
type arg struct {
	name     string
	optional bool
	kind     kind
}

type kind int

const (
	other kind = iota
	container
	daemon
	revision
	object
	devKey
	usrKey
	file
	shell
)

var ls = []string{"list"}

// groups is every command of the program.
func groups() []*group {
	containers := get("/containers", "name", "group", "status", "status_goal", "restart_policy", "roles")
	return []*group{
		{names: []string{"ls", "list"}, summary: "list all containers of the current revision", bare: &containers,
			example: "pvcontrol ls --table"},
		{names: []string{"containers", "container"}, summary: "list, start, stop and restart containers", verbs: []verb{
			list(containers, "list all containers and their status"),
			action("/containers/", "start", container, "start a stopped container"),
			action("/containers/", "stop", container, "stop a running container"),
			action("/containers/", "restart", container, "restart a container"),
		}, example: "pvcontrol containers restart my-app"},
		{names: []string{"groups"}, summary: "list the groups of containers", verbs: []verb{
			list(get("/groups", "name", "status", "status_goal", "restart_policy"), "list the groups of containers"),
		}},
		{names: []string{"signal"}, summary: "tell Pantavisor how this container is", verbs: []verb{
			signal("ready", "this container is ready"), signal("alive", "this container is alive"),
		}, example: "pvcontrol signal ready"},
		{names: []string{"cmd", "command", "commands"}, summary: "run, reboot, power off and other commands", verbs: commands(),
			example: "pvcontrol cmd run locals/new"},
		meta("usrmeta", "user-meta", "user metadata", usrKey),
		meta("devmeta", "device-meta", "device metadata", devKey),
		{names: []string{"buildinfo"}, summary: "print what Pantavisor was built from", bare: ptr(get("/buildinfo"))},
		{names: []string{"objects"}, summary: "put, get and list objects", verbs: objectVerbs(),
			example: "pvcontrol objects put image.squashfs $(sha256sum image.squashfs | cut -d ' ' -f 1)"},
		{names: []string{"steps"}, summary: "install, put, get and list revisions", verbs: stepVerbs(),
			example: "pvcontrol -m 'new app' steps install app.tgz"},
		{names: []string{"conf", "configuration"}, summary: "list the configuration", verbs: []verb{
			list(get("/config2", "key", "value", "modified"), "list the configuration and where each value comes from"),
		}},
		{names: []string{"config"}, summary: "list the configuration by its old names", verbs: []verb{
			list(get("/config", "key", "value"), "list the configuration by its old names"),
		}},
		{names: []string{"graph"}, summary: "list the links of the service mesh", verbs: []verb{
			list(get("/xconnect-graph", "consumer", "provider", "name", "type", "role", "target"), "list the links of the service mesh"),
		}},
		{names: []string{"daemons"}, summary: "list, start, stop and restart daemons", verbs: []verb{
			list(get("/daemons", "name", "pid", "respawn"), "list all daemons and their status"),
			action("/daemons/", "start", daemon, "start a daemon"),
			action("/daemons/", "stop", daemon, "stop a daemon"),
			{name: "restart", args: []arg{{name: "name", kind: daemon}}, summary: "stop and start a daemon", run: restartDaemon},
		}},
		{names: []string{"storage"}, summary: "collect garbage", verbs: []verb{
			{name: "gc", summary: "remove what no revision needs and print how many bytes that were", run: func(ctx context.Context, s *session, _ *verb, _ []string) int {
				return s.show(ctx, request{method: "POST", path: "/storage/gc"})
			}},
		}},
		{names: []string{"completion"}, summary: "print a shell's completion script", bare: &verb{
			args: []arg{{name: "bash|zsh|fish", kind: shell}}, offline: true, run: printCompletion},
			example: "source <(pvcontrol completion bash)"},
	}
}

func ptr[T any](v T) *T { return &v }

// list gives a verb the names of a list.
func list(v verb, summary string) verb {
	v.name, v.also, v.summary = "ls", ls, summary
	return v
}

// get prints what is at a path.
func get(path string, columns ...string) verb {
	return verb{columns: columns, run: func(ctx context.Context, s *session, v *verb, _ []string) int {
		if s.table {
			return s.printTable(ctx, path, v.columns)
		}
		return s.show(ctx, request{path: path})
	}}
}

// action puts {"action":…} to what has the name.
func action(path, name string, k kind, summary string) verb {
	return verb{name: name, args: []arg{{name: "name", kind: k}}, summary: summary,
		run: func(ctx context.Context, s *session, _ *verb, args []string) int {
			return s.show(ctx, putAction(path+args[0], name))
		}}
}

func putAction(path, name string) request {
	return request{method: "PUT", path: path, data: `{"action":"` + name + `"}`}
}

func restartDaemon(ctx context.Context, s *session, _ *verb, args []string) int {
	path := "/daemons/" + args[0]
	if code := s.quiet(ctx, putAction(path, "stop")); code != exitOK {
		return code
	}
	return s.show(ctx, putAction(path, "start"))
}

func signal(name, summary string) verb {
	return verb{name: name, summary: summary, run: func(ctx context.Context, s *session, _ *verb, _ []string) int {
		return s.show(ctx, request{method: "POST", path: "/signal", data: object2("type", name, "payload", "")})
	}}
}

// commands are those of POST /commands.
func commands() []verb {
	op := func(name, op, summary string, args ...arg) verb {
		return verb{name: name, args: args, summary: summary, run: func(ctx context.Context, s *session, _ *verb, args []string) int {
			payload := ""
			if len(args) > 0 {
				payload = args[0]
			}
			if payload == "" && (name == "reboot" || name == "poweroff") {
				payload = s.message
			}
			return s.show(ctx, request{method: "POST", path: "/commands", data: object2("op", op, "payload", payload)})
		}}
	}
	rev := arg{name: "revision", kind: revision}
	message := arg{name: "message", optional: true}
	return []verb{
		op("run", "LOCAL_RUN", "run an installed revision", rev),
		op("run-commit", "LOCAL_RUN_COMMIT", "run an installed revision and commit it", rev),
		op("poweroff", "POWEROFF_DEVICE", "power the device off in order", message),
		op("reboot", "REBOOT_DEVICE", "reboot the device in order", message),
		op("run-gc", "RUN_GC", "run the garbage collector in the background"),
		op("make-factory", "MAKE_FACTORY", "make a revision, or the current one, the factory revision", arg{name: "revision", optional: true, kind: revision}),
		op("enable-ssh", "ENABLE_SSH", "start the SSH server until the next reboot"),
		op("disable-ssh", "DISABLE_SSH", "stop the SSH server until the next reboot"),
		op("go-remote", "GO_REMOTE", "leave the local revision for the remote one"),
		op("unclaim", "UNCLAIM", "forget the hub's credentials"),
		op("defer-reboot", "DEFER_REBOOT", "put off a reboot that was asked for in a debug shell", arg{name: "seconds"}),
	}
}

func meta(name, path, what string, k kind) *group {
	key := arg{name: "key", kind: k}
	save := verb{name: "save", args: []arg{key, {name: "value", optional: true}}, summary: "create or update a key",
		run: func(ctx context.Context, s *session, _ *verb, args []string) int {
			return s.show(ctx, request{method: "PUT", path: "/" + path + "/" + args[0], data: args[1]})
		}}
	if name == "devmeta" {
		save.also = []string{"upload"}
	}
	return &group{names: []string{name}, summary: "save, delete and list " + what, verbs: []verb{
		save,
		{name: "delete", args: []arg{key}, summary: "delete a key", run: func(ctx context.Context, s *session, _ *verb, args []string) int {
			return s.show(ctx, request{method: "DELETE", path: "/" + path + "/" + args[0]})
		}},
		list(get("/"+path, "key", "value"), "list all keys and values"),
	}, example: "pvcontrol " + name + " save location 'hall 3'"}
}

func findGroup(name string) *group {
	for _, g := range groups() {
		if slices.Contains(g.names, name) {
			return g
		}
	}
	return nil
}

func (g *group) find(name string) *verb {
	for i := range g.verbs {
		if v := &g.verbs[i]; v.name == name || slices.Contains(v.also, name) {
			return v
		}
	}
	return nil
}

// synopsis is a verb's line without its summary.
func (v *verb) synopsis() string {
	words := []string{v.name}
	for _, a := range v.args {
		if a.optional {
			words = append(words, "["+a.name+"]")
		} else {
			words = append(words, "<"+a.name+">")
		}
	}
	if v.columns != nil {
		words = append(words, "[--table]")
	}
	return strings.TrimSpace(strings.Join(words, " "))
}

// usage is the help text of a group.
func (g *group) usage() string {
	var b strings.Builder
	name := strings.Join(g.names, "|")
	if g.bare != nil {
		fmt.Fprintf(&b, "Usage: pvcontrol %s\n%s\n", strings.TrimSpace(name+" "+g.bare.synopsis()), sentence(g.summary))
	} else {
		fmt.Fprintf(&b, "Usage: pvcontrol %s <command>\n%s\n\n", name, sentence(g.summary))
		for i := range g.verbs {
			fmt.Fprintf(&b, "  %-42s %s\n", g.names[0]+" "+g.verbs[i].synopsis(), g.verbs[i].summary)
		}
	}
	if g.example != "" {
		fmt.Fprintf(&b, "\nExample:\n  %s\n", g.example)
	}
	return b.String()
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

// usage is the help text of the program.
func usage() string {
	var b strings.Builder
	b.WriteString("Usage: pvcontrol [options] <command> [arguments]\nControl Pantavisor from a container or from the host.\n\nCommands:\n")
	for _, g := range groups() {
		fmt.Fprintf(&b, "  %-12s %s\n", g.names[0], g.summary)
	}
	b.WriteString(`
Options, before the command:
  -s <socket>  ask at this socket; without it the first of
               ` + strings.Join(sockets[:], ", ") + `,
               and of your own pv-appengine's
  -f <file>    write the output to a file, which appears when it is whole
  -m <message> the commit message of steps install and steps put, the message
               of cmd reboot and cmd poweroff
  -v           tell on standard error what is asked and answered
  --table      lists as tables for people, not JSON
  -h           this text; pvcontrol <command> --help for one command

Exit codes: 0 done, 75 busy (try again later), 48 no space, 60 wrong checksum,
70 state not verified, 255 any other refusal (the answer is on standard error),
1 no answer or a wrong command line.

Environment: PVTEST_EXEC is a command to run pvcontrol elsewhere with, such as
"docker exec pva-test"; CURL_ARGS may have --max-time and --connect-timeout.

Examples:
  pvcontrol ls --table
  pvcontrol -s ./run/pv-ctrl containers restart my-app
  pvcontrol usrmeta save location 'hall 3'
  pvcontrol -m 'try the new app' steps install app.tgz locals/new
  pvcontrol cmd run locals/new
`)
	return b.String()
}
