package system_test

import (
	"fmt"
	"strings"
	"testing"
)

func services(name, list string) string { return fmt.Sprintf(`,%q:%s`, name+"/services.json", list) }

func TestGraph(t *testing.T) {
	s := parse(t, state(
		run("client", `,"services":{"optional":[{"name":"web","role":"admin","interface":"http","target":"/t"}],"required":[{"name":"raw","type":"dbus"},{"name":"self"}]}`)+
			services("client", `[{"name":"self","type":"rest","socket":"/self"}]`)+
			run("a-server", "")+services("a-server", `{"#spec":"whatever","services":[{"name":"raw","type":"unix","socket":"/a"},{"name":"raw","type":"input"}]}`)+
			run("server", "")+services("server", `[{"name":"web","type":"tcp","socket":"/w"},{"name":"Raw","type":"unix"},{"owns":"org.x","name":"raw","type":"dbus"}]`)+
			run("other", `,"services":{"optional":[{"name":"nobody has it"}]}`)))
	pids := map[string]int{"client": 10, "a-server": 20, "server": -1}
	var got []string
	for _, l := range s.Graph(func(name string) int { return pids[name] }) {
		got = append(got, fmt.Sprintf("%s(%d) %s %s(%d) %s role=%s interface=%s target=%q socket=%q",
			l.Consumer, l.ConsumerPID, l.Name, l.Provider, l.ProviderPID, l.Type, l.Role, l.Interface, l.Target, l.Socket))
	}
	want := []string{
		`client(10) raw a-server(20) unix role=any interface=unix target="" socket="/a"`,
		`client(10) raw a-server(20) input role=any interface=input target="" socket=""`,
		`client(10) self client(10) rest role=any interface=rest target="" socket="/self"`,
		`client(10) web server(-1) unknown role=admin interface=http target="/t" socket="/w"`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if g := parse(t, state(run("a", ""))).Graph(func(string) int { return 0 }); g == nil || len(g) > 0 {
		t.Errorf("without links the graph is %v", g)
	}
}

// TestServicesOrder: a services.json counts also when its key stands before
// that of the run.json.
func TestServicesOrder(t *testing.T) {
	src := `{"a/services.json":[{"name":"x","type":"unix","socket":"/s"}],"a/run.json":{"name":"a","type":"lxc","config":"c"},"#spec":"pantavisor-service-system@1"}`
	if c := parse(t, src).Container("a"); len(c.Exports) != 1 {
		t.Errorf("exports %+v", c.Exports)
	}
}

func TestMissing(t *testing.T) {
	needs := func(name string) string {
		return run("client", `,"services":{"required":[{"name":"`+name+`"}]}`)
	}
	server := run("server", "") + services("server", `[{"name":"raw-unix","type":"unix"},{"name":"web","type":"rest"}]`)
	for name, c := range map[string]struct{ members, want string }{
		"none":      {needs("raw-unix") + server, ""},
		"letters":   {needs("raw-unx") + server, `container "client" requires the service "raw-unx", and no container exports it: did you mean "raw-unix" of "server"?`},
		"case":      {needs("RAW-UNIX") + server, `container "client" requires the service "RAW-UNIX", and no container exports it: did you mean "raw-unix" of "server"?`},
		"container": {needs("server") + server, `container "client" requires the service "server", and no container exports it: did you mean "raw-unix" of "server", "web" of "server"?`},
		"far":       {needs("database") + server, `container "client" requires the service "database", and no container exports it: the exports are raw-unix, web`},
		"nothing": {needs("database"), `container "client" requires the service "database", and no container exports it: ` +
			`nothing is exported at all; add the container that has it in its services.json`},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, m := range parse(t, state(c.members)).MissingServices() {
				got = append(got, m.Error())
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n"), c.want)
			}
		})
	}
}
