package manifest_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/internal/golden"
	"github.com/pvkit/pvkit/pvrexport/manifest"
)

// render fails the test unless s renders without error findings.
func render(t testing.TB, s manifest.Source) (*manifest.Manifest, []diag.Diagnostic) {
	t.Helper()
	m, found, err := manifest.Render(s)
	if err != nil {
		t.Fatal(err)
	}
	if m == nil {
		t.Fatalf("errors: %v", found)
	}
	return m, found
}

func readObject(t *testing.T, file string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return object(t, data)
}

// TestSample renders the whole app that pvr was asked for in testdata/pvr.
func TestSample(t *testing.T) {
	const dir = "testdata/pvr/"
	args := readObject(t, dir+"input.args.json")
	for name, v := range args {
		if _, isText := v.(string); !isText {
			delete(args, name) // that pvr's command line could hand over text only
		}
	}
	offered, err := os.Open(dir + "input.services.json")
	if err != nil {
		t.Fatal(err)
	}
	defer offered.Close()
	services, err := manifest.ParseServices(offered)
	if err != nil {
		t.Fatal(err)
	}
	wantSrc := readObject(t, dir+"src.json")
	m, _ := render(t, manifest.Source{
		Name: "app", Group: "root", Args: args, Config: readObject(t, dir+"input.config.json"),
		Persistence: map[string]string{"ovl:/var": "permanent"}, Services: services,
		Mdev: []string{".* 0:0 666"}, RootfsURL: "/rootfs", RootfsDigest: wantSrc["rootfs_digest"].(string), BuildOrigin: "yocto",
	})

	conf, err := os.ReadFile(dir + "lxc.container.conf")
	if err != nil {
		t.Fatal(err)
	}
	want := replaceLines(t, string(conf), map[string]string{
		// the blank that pvr leaves out
		`lxc.init.cmd = /sbin/app.sh "-x""a b"`: `lxc.init.cmd = /sbin/app.sh "-x" "a b"`,
		// "ovl:/var:permanent" read as it was meant
		"lxc.mount.entry = /volumes/app/docker-ovl ovl none bind,rw,create=dir 0 0": "lxc.mount.entry = /volumes/app/dockerovl--var var overlay " +
			"lowerdir=/volumes/app/root.squashfs/var,upperdir=/volumes/app/dockerovl--var/upper,workdir=/volumes/app/dockerovl--var/work,create=dir 0 0",
	})
	if got := string(m.File(manifest.ConfFile)); got != want {
		t.Errorf("lxc.container.conf\n--- want\n%s--- got\n%s", want, got)
	}

	wantRun := readObject(t, dir+"run.json")
	storage := wantRun["storage"].(map[string]any)
	delete(storage, "docker-ovl")
	storage["dockerovl--var"] = map[string]any{"persistence": "permanent"}
	same(t, "run.json", object(t, m.File(manifest.RunFile)), wantRun)

	delete(wantSrc, "rootfs_url") // a path of the build machine
	wantSrc["persistence"] = map[string]any{"ovl:/var": "permanent"}
	same(t, "src.json", object(t, m.File(manifest.SrcFile)), wantSrc)
	same(t, "services.json", object(t, m.File(manifest.ServicesFile)), readObject(t, dir+"input.services.json"))
	same(t, "mdev.json", object(t, m.File(manifest.MdevFile)), map[string]any{"rules": []any{".* 0:0 666"}})

	var names []string
	for name := range m.Files() {
		names = append(names, name)
	}
	if want := []string{"lxc.container.conf", "mdev.json", "run.json", "services.json", "src.json"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
}

func same(t *testing.T, file string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\n--- want\n%s\n--- got\n%s", file, marshal(t, want), marshal(t, got))
	}
}

// TestNewArguments shows the bytes for what is newer than the pvr we compare with.
func TestNewArguments(t *testing.T) {
	var args map[string]any
	if err := json.Unmarshal([]byte(`{
		"PV_SERVICES_REQUIRED": [
			{"name": "system-bus", "type": "dbus", "role": "root", "interface": "org.pantavisor.Example", "target": "/run/dbus/system_bus_socket"},
			{"name": "raw-unix", "target": "/run/pv/services/raw-unix.sock"}],
		"PV_SERVICES_OPTIONAL": "metrics, network-manager",
		"PV_AUTO_RECOVERY": {"policy": "on-failure", "max_retries": 5, "retry_delay": 5.0, "backoff_factor": 2.5,
			"reset_window": 60, "stable_timeout": 30, "backoff_policy": "10min"},
		"PV_NETWORK_POOL": "internal", "PV_NETWORK_IP": "10.0.5.50", "PV_NETWORK_MAC": "02:00:00:aa:bb:cc",
		"PV_RESTART_POLICY": "container", "PV_STATUS_GOAL": "READY", "PV_ROLES": ["nobody"], "PV_AUTOMODFW": false,
		"PV_DEBUG_MODE": "off", "LXC_PTY_MAX": 64
	}`), &args); err != nil {
		t.Fatal(err)
	}
	m, found := render(t, manifest.Source{
		Name: "pv-example", Group: "app", Args: args,
		Config: map[string]any{"Entrypoint": []string{"/usr/bin/run me", "a<b>&c"}, "Env": []string{"GREETING= hi "}},
		Services: []manifest.Service{
			{Name: "raw", Type: "unix", Socket: "/run/example/raw.sock"},
			{Name: "gpu", Type: "drm", Socket: "/dev/dri/card0"},
			{Type: "dbus", Bus: "system-bus", Owns: "org.example.Foo", Role: "foo", Allow: []string{"operator", "monitor"}},
		},
		Mdev: []string{"$MODALIAS=.* 0:0 0660 */sbin/modprobe -v -b $MODALIAS", ".* 0:0 0600"},
	})
	if len(found) != 0 {
		t.Errorf("findings: %v", found)
	}
	for name, data := range m.Files() {
		golden.Check(t, "testdata/new/"+name, data)
	}
}

// TestRunKeys checks that no run.json holds a key that starts with another one
// that the device looks for: it would be taken for that one.
func TestRunKeys(t *testing.T) {
	known := []string{ // parser_system1.c, parse_platform
		"name", "type", "runlevel", "automodfw", "group", "restart_policy", "status_goal", "roles", "auto_recovery", "network",
		"config", "share", "root-volume", "volumes", "logs", "storage", "drivers", "services", "exports", "dev-log",
	}
	seen := map[string]bool{}
	for _, p := range readCases(t, "testdata/pvr/template-full.json") {
		m, _, err := manifest.Render(p.source(t))
		if err != nil || m == nil {
			continue
		}
		for key := range object(t, m.File(manifest.RunFile)) {
			seen[key] = true
			for _, k := range known {
				if key != k && strings.HasPrefix(key, k) {
					t.Errorf("%s: the device would take %q for %q", p.name(t), key, k)
				}
			}
		}
	}
	if len(seen) < 19 {
		t.Errorf("only the keys %v were seen", seen)
	}
}

func TestSrcKeepsTheBuildMachineOut(t *testing.T) {
	for in, want := range map[string]any{
		"/home/me/build/rootfs":                    nil,
		"file:///home/me/rootfs":                   nil,
		"./rootfs":                                 nil,
		"build.d/rootfs":                           nil,
		`C:\rootfs`:                                nil,
		"https://example.com/rootfs.tar.gz":        "https://example.com/rootfs.tar.gz",
		"https://me:secret@example.com/rootfs.tgz": "https://example.com/rootfs.tgz",
		"registry.example.com:5000/a/b:1.2":        "registry.example.com:5000/a/b:1.2",
		"nginx:alpine":                             "nginx:alpine",
	} {
		m, found := render(t, manifest.Source{Name: "app", RootfsURL: in})
		if got := object(t, m.File(manifest.SrcFile))["rootfs_url"]; got != want {
			t.Errorf("%s: rootfs_url is %v, want %v", in, got, want)
		}
		if (want == nil) != (len(found) == 1) {
			t.Errorf("%s: findings %v", in, found)
		}
	}
}

// TestSrcArgsMeanTheSameToPvr: pvr renders a container anew from src.json.
func TestSrcArgsMeanTheSameToPvr(t *testing.T) {
	m, _ := render(t, manifest.Source{Name: "app", Group: "root", Args: map[string]any{
		"PV_DEBUG_MODE": "no", "PV_DISABLE_AUTODEV": "0", "PV_SECURITY_FULLDEV": "on", "PV_AUTOMODFW": "off",
		"PV_SERVICES_REQUIRED": "a,b", "PV_SERVICES_OPTIONAL": "", "UNKNOWN": []int{1}, "PV_GROUP": "app",
	}})
	same(t, "args", object(t, m.File(manifest.SrcFile))["args"], map[string]any{
		"PV_SECURITY_FULLDEV": "on", "PV_AUTOMODFW": "no", "UNKNOWN": []any{1.0}, "PV_GROUP": "root",
		"PV_SERVICES_REQUIRED": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}},
	})
	same(t, "group", object(t, m.File(manifest.RunFile))["group"], "root")
}

func TestNetwork(t *testing.T) {
	for _, c := range []struct {
		n    manifest.Network
		want map[string]any
	}{
		{manifest.Network{Pool: "p"}, map[string]any{"pool": "p", "hostname": "app"}},
		{manifest.Network{Mode: "pool", Pool: "p", Hostname: "h", IP: "10.0.0.1", MAC: "02:00:00:00:00:01"},
			map[string]any{"mode": "pool", "pool": "p", "hostname": "h", "ip": "10.0.0.1", "mac": "02:00:00:00:00:01"}},
		{manifest.Network{Mode: "host"}, map[string]any{"mode": "host"}},
	} {
		m, found := render(t, manifest.Source{Name: "app", Network: &c.n})
		if len(found) != 0 {
			t.Error(found)
		}
		same(t, "network", object(t, m.File(manifest.RunFile))["network"], c.want)
	}
}

// TestEmptyValuesCountAsNotGiven: as in the template, with the exception of the
// parts of lxc.mount.auto.
func TestEmptyValuesCountAsNotGiven(t *testing.T) {
	want, _ := render(t, manifest.Source{Name: "app"})
	empty := map[string]any{}
	for _, a := range manifest.Arguments() {
		switch a.Type {
		case manifest.Object:
			empty[a.Name] = map[string]any{}
		case manifest.List, manifest.AnyValue, manifest.Services:
			empty[a.Name] = []any{}
		case manifest.Number:
			empty[a.Name] = nil
		default:
			empty[a.Name] = ""
		}
	}
	delete(empty, "PV_ROLES")
	for _, part := range []string{"PROC", "SYS", "GROUP"} {
		delete(empty, "LXC_MOUNT_AUTO_"+part)
	}
	m, _ := render(t, manifest.Source{Name: "app", Args: empty})
	for _, file := range []string{manifest.ConfFile, manifest.RunFile} {
		if !bytes.Equal(m.File(file), want.File(file)) {
			t.Errorf("%s\n--- want\n%s--- got\n%s", file, want.File(file), m.File(file))
		}
	}
}

func TestImages(t *testing.T) {
	m, _ := render(t, manifest.Source{
		Name: "app", Docker: manifest.Docker{OvlDigest: "sha256:x"}, DMEnabled: map[string]bool{"root.ovl.squashfs": true, "a.squashfs": true},
		Args: map[string]any{"PV_EXTRA_VOLUMES": "a.squashfs,b.squashfs", "PV_VOLUME_MOUNTS": "b.squashfs:opt/b"},
	})
	run := object(t, m.File(manifest.RunFile))
	same(t, "volumes", run["volumes"], []any{"dm:a.squashfs", "b.squashfs", "dm:root.ovl.squashfs"})
	same(t, "root-volume", run["root-volume"], "root.squashfs")
}

func TestBooleans(t *testing.T) {
	for _, c := range []struct {
		given any
		want  bool
	}{
		{true, true}, {"true", true}, {"Yes", true}, {"ON", true}, {"1", true}, {1, true}, {json.Number("1"), true},
		{false, false}, {"false", false}, {"No", false}, {"off", false}, {"0", false}, {0, false}, {"", false}, {nil, false},
	} {
		m, found := render(t, manifest.Source{Name: "app", Args: map[string]any{"PV_DEBUG_MODE": c.given}})
		if got := bytes.Contains(m.File(manifest.ConfFile), []byte("lxc.log.file")); got != c.want || len(found) != 0 {
			t.Errorf("%#v: got %t %v, want %t", c.given, got, found, c.want)
		}
	}
	m, found, _ := manifest.Render(manifest.Source{Name: "app", Args: map[string]any{"PV_DEBUG_MODE": "maybe"}})
	if m != nil || !hasError(found, `PV_DEBUG_MODE: got the string "maybe", want a boolean (true, yes, on, 1 or false, no, off, 0)`) {
		t.Errorf("maybe: %v", found)
	}
}

func TestValuesThatJSONCannotExpress(t *testing.T) {
	loop := map[string]any{}
	loop["x"] = loop
	for name, s := range map[string]manifest.Source{
		"channel":  {Name: "app", Args: map[string]any{"X": make(chan int)}},
		"nan":      {Name: "app", Args: map[string]any{"X": math.NaN()}},
		"loop":     {Name: "app", Config: loop},
		"keys":     {Name: "app", Args: map[string]any{"X": map[int]int{1: 1}}},
		"utf-8":    {Name: "app", Logs: []map[string]any{{"file": "\xff"}}},
		"number":   {Name: "app", Args: map[string]any{"X": json.Number("1x")}},
		"key utf8": {Name: "app", Args: map[string]any{"\xff": 1}},
	} {
		if m, _, err := manifest.Render(s); err == nil || m != nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWhere(t *testing.T) {
	_, found, err := manifest.Render(manifest.Source{
		Name: "app", Args: map[string]any{"PV_ROLE": 1}, Persistence: map[string]string{"/x": "forever"},
		Where: func(path string) diag.Position { return diag.Position{File: path} },
	})
	if err != nil || len(found) != 2 || found[0].Pos.File != "args.PV_ROLE" || found[1].Pos.File != "persistence./x" {
		t.Errorf("%v %v", found, err)
	}
}

func BenchmarkRender(b *testing.B) {
	cases := readCases(b, "testdata/pvr/template-full.json")
	var args map[string]any
	for _, p := range cases {
		if p.Label == "all of lxc.container.conf" {
			args = p.Args
		}
	}
	for b.Loop() {
		render(b, manifest.Source{Name: "app", Args: args})
	}
}

// TestEveryArgumentHasAnEffect keeps the table and the rendering together: a row
// that nothing reads, or a name that is not in the table, shows here.
func TestEveryArgumentHasAnEffect(t *testing.T) {
	special := map[string]map[string]any{
		"LXC_MOUNT_AUTO_GROUP":         {"LXC_MOUNT_AUTO_GROUP": "cgroup:ro"},
		"LXC_MOUNT_AUTO_PROC":          {"LXC_MOUNT_AUTO_PROC": "proc:rw"},
		"LXC_MOUNT_AUTO_SYS":           {"LXC_MOUNT_AUTO_SYS": "sys:ro"},
		"PVR_LXC_CGROUP_DEVICES_WHITE": {"PVR_LXC_CGROUP_DEVICES_WHITE": []any{"c 1:3 r"}},
		"PVR_LXC_CGROUP_V1":            {"PVR_LXC_CGROUP_V1": []any{"cpu.shares = 5"}},
		"PV_AUTO_RECOVERY":             {"PV_AUTO_RECOVERY": obj{"policy": "always"}},
		"PV_GROUP":                     {"PV_GROUP": "app"},
		"PV_LXC_CAP_DROP":              {"PV_LXC_CAP_DROP": []any{"kill"}},
		"PV_LXC_CAP_KEEP":              {"PV_LXC_CAP_KEEP": []any{"kill"}},
		"PV_LXC_EXTRA_CONF":            {"PV_LXC_EXTRA_CONF": "lxc.a = 1"},
		"PV_LXC_EXTRA_ENV":             {"PV_LXC_EXTRA_ENV": []any{"A=1"}},
		"PV_LXC_NAMESPACE_KEEP":        {"PV_LXC_NAMESPACE_KEEP": "user"},
		"PV_LXC_NETWORK_IPV4_ADDRESS":  {"PV_LXC_NETWORK_TYPE": "veth", "PV_LXC_NETWORK_IPV4_ADDRESS": "10.0.3.2/24"},
		"PV_LXC_NETWORK_IPV4_GATEWAY":  {"PV_LXC_NETWORK_TYPE": "veth", "PV_LXC_NETWORK_IPV4_ADDRESS": "10.0.3.2/24", "PV_LXC_NETWORK_IPV4_GATEWAY": "dev"},
		"PV_LXC_NETWORK_LINK":          {"PV_LXC_NETWORK_TYPE": "phys", "PV_LXC_NETWORK_LINK": "eth0"},
		"PV_LXC_NETWORK_TYPE":          {"PV_LXC_NETWORK_TYPE": "empty"},
		"PV_NETWORK_HOSTNAME":          {"PV_NETWORK_POOL": "p", "PV_NETWORK_HOSTNAME": "h"},
		"PV_NETWORK_IP":                {"PV_NETWORK_POOL": "p", "PV_NETWORK_IP": "10.0.0.1"},
		"PV_NETWORK_MAC":               {"PV_NETWORK_POOL": "p", "PV_NETWORK_MAC": "02:00:00:00:00:01"},
		"PV_REMOUNT":                   {"PV_REMOUNT": obj{"default": []any{obj{"/x": "ro"}}}},
		"PV_ROLES":                     {"PV_ROLES": []any{"nobody"}},
		"PV_VOLUME_IMPORTS":            {"PV_VOLUME_IMPORTS": []any{"os:/x:/y"}},
	}
	byType := map[manifest.Type]any{
		manifest.Bool: "yes", manifest.Number: "3", manifest.Text: "x", manifest.List: []any{"x"}, manifest.TextList: "x",
		manifest.PairList: "a:b", manifest.Object: obj{"a": "b"}, manifest.Services: "x", manifest.AnyValue: 1,
	}
	for _, a := range manifest.Arguments() {
		with := special[a.Name]
		if with == nil {
			with = map[string]any{a.Name: byType[a.Type]}
		}
		if a.Type == manifest.Choice && special[a.Name] == nil {
			with[a.Name] = a.Values[0]
		}
		without := map[string]any{}
		for name, v := range with {
			if name != a.Name {
				without[name] = v
			}
		}
		if a.Name == "PV_LXC_NETWORK_LINK" { // the type phys cannot be without it
			without = nil
		}
		before, _ := render(t, manifest.Source{Name: "app", Args: without})
		after, _ := render(t, manifest.Source{Name: "app", Args: with})
		if bytes.Equal(before.File(manifest.ConfFile), after.File(manifest.ConfFile)) && bytes.Equal(before.File(manifest.RunFile), after.File(manifest.RunFile)) {
			t.Errorf("%s=%v changes nothing", a.Name, with[a.Name])
		}
	}
}
