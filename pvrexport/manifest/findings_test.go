package manifest_test

import (
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport/manifest"
)

func args(kv ...any) manifest.Source {
	m := map[string]any{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1]
	}
	return manifest.Source{Name: "app", Args: m}
}

func config(key string, v any) manifest.Source {
	return manifest.Source{Name: "app", Config: map[string]any{key: v}}
}

func persist(kv ...string) manifest.Source {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return manifest.Source{Name: "app", Persistence: m}
}

func offers(s ...manifest.Service) manifest.Source {
	return manifest.Source{Name: "app", Services: s}
}

type obj = map[string]any

// TestFindings has one line for each rule: what is given, and the first finding.
func TestFindings(t *testing.T) {
	const e, w = diag.Error, diag.Warning
	for _, c := range []struct {
		s    manifest.Source
		sev  diag.Severity
		text string
		hint string
	}{
		// names and types
		{args("LXC_TTY_MIN", "8"), w, "LXC_TTY_MIN is not a template argument", "did you mean LXC_TTY_MAX?"},
		{args("PV_ROLE", []any{"mgmt"}), w, "PV_ROLE is not a template argument", "did you mean PV_ROLES?"},
		{args("PV_LXC_CAP_DROP", "SYS_ADMIN"), e, `PV_LXC_CAP_DROP: got the string "SYS_ADMIN", want a list of strings`, `write ["SYS_ADMIN"]`},
		{args("PV_LXC_CAP_DROP", []any{1}), e, "PV_LXC_CAP_DROP: element 1 is the number 1, want a text", ""},
		{args("PV_FILEIMPORTS", []any{"a:b", "c:d"}), e, "PV_FILEIMPORTS: got a list, want a text", `write "a:b,c:d"`},
		{args("LXC_TTY_MAX", "many"), e, `LXC_TTY_MAX: got the string "many", want a whole number`, ""},
		{args("LXC_TTY_MAX", "08"), e, `got the string "08", want a whole number`, ""},
		{args("LXC_TTY_MAX", -1), e, "LXC_TTY_MAX: got the number -1, want a whole number", ""},
		{args("PV_GROUP", true), e, "PV_GROUP: got the boolean true, want a text", ""},
		{args("PV_REMOUNT", []any{}), e, "PV_REMOUNT: got a list, want an object", ""},
		{args("PV_STATUS_GOAL", "ready"), e, `PV_STATUS_GOAL: got "ready", want one of MOUNTED, STARTED, READY`, "did you mean READY?"},
		{args("PV_RESTART_POLICY", "conatiner"), e, "PV_RESTART_POLICY", "did you mean container?"},
		{args("PV_RUNLEVEL", "app"), w, "PV_RUNLEVEL is deprecated", "use PV_GROUP"},
		{manifest.Source{Name: "a b"}, e, `the container name "a b" cannot be used in paths: want letters`, ""},
		{manifest.Source{Name: "../x"}, e, "cannot be used in paths", ""},
		{manifest.Source{Name: ""}, e, "cannot be used in paths", ""},
		{manifest.Source{Name: "_config"}, e, "cannot be used in paths", ""},
		{manifest.Source{Name: "bsp"}, e, `"bsp" is taken`, ""},
		{manifest.Source{Name: "app", Group: "ap"}, w, "the group ap is not one of data, root, platform, app", "did you mean app?"},
		{manifest.Source{Name: "app", Group: "x", Groups: []string{"y"}}, w, "the group x is not one of y", "did you mean y?"},
		{manifest.Source{Name: "app", Base: "a/b"}, e, "the base container", ""},
		{manifest.Source{Name: "app", RootfsDigest: "sha256:1"}, e, "the digest", ""},
		{manifest.Source{Name: "app", DMEnabled: map[string]bool{"a b": true}}, e, "the volume", ""},

		// lxc.container.conf
		{args("PV_LXC_EXTRA_ENV", []any{"A=1\nlxc.cap.drop ="}), e, "the value of A holds a newline", ""},
		{args("PV_LXC_EXTRA_ENV", []any{"A"}), e, `"A" has no value`, `write "A="`},
		{args("PV_LXC_EXTRA_ENV", []any{`"A=1"`}), e, "does not start with the name of a variable", ""},
		{config("Env", []any{"A=1\rlxc.x = 1"}), e, "the value of A holds a newline", ""},
		{config("Env", "A=1"), e, `Env: got the string "A=1", want a list of strings`, ""},
		{config("Env", []any{2}), e, "Env: element 1 is the number 2", ""},
		{config("WorkingDir", "/a\n"), e, "lxc.init.cwd: the value", ""},
		{config("WorkingDir", "a"), w, `WorkingDir: "a" does not start with "/"`, ""},
		{config("Cmd", []any{"/bin/sh", "-c", "a\nb"}), e, "holds a line break", ""},
		{config("Cmd", []any{"/bin/sh", "-c", `say "it's"`}), e, "holds both", ""},
		{config("Cmd", []any{"", "x"}), e, "Cmd: the first word, the program, is empty", ""},
		{config("Cmd", []any{1}), e, "Cmd: word 1 is the number 1", ""},
		{config("Cmd", `/a "b`), e, "a quote is not closed", ""},
		{config("Entrypoint", obj{}), e, "Entrypoint: got an object", ""},
		{config("Volumes", []any{"/a"}), e, "Volumes: got a list", ""},
		{config("Volumes", obj{"a": obj{}}), e, `Volumes: "a" does not start with "/"`, ""},
		{args("LXC_MOUNT_AUTO_SYS", "sys:wr"), e, `lxc does not know the automatic mount "sys:wr"`, ""},
		{args("LXC_MOUNT_AUTO_SYS", "sys\n"), e, `LXC_MOUNT_AUTO_SYS`, ""},
		{args("PV_LXC_NAMESPACE_KEEP", "user nett"), e, `"nett" is not a namespace`, ""},
		{args("PVR_LXC_CGROUP_DEVICES_WHITE", []any{"c 1:3"}), e, `got "c 1:3", want type, numbers and access`, ""},
		{args("PVR_LXC_CGROUP_V1", []any{"memory"}), e, `got "memory", want "key = value"`, ""},
		{args("PVR_LXC_CGROUP_V1", []any{"a = 1\nb = 2"}), e, "lxc.cgroup.: the value", ""},
		{args("PV_LXC_CAP_KEEP", []any{"sys_admn"}), w, `"sys_admn" is not a capability`, "did you mean sys_admin?"},
		{args("PV_LXC_CAP_KEEP", []any{"CAP_SYS_ADMIN"}), e, `without "cap_"`, "write sys_admin"},
		{args("PV_LXC_CAP_DROP", []any{"none"}), w, `"none" is not a capability`, ""},
		{args("PV_LXC_CAP_KEEP", []any{"kill"}, "PV_LXC_CAP_DROP", []any{"kill"}), e, "exclude each other", ""},
		{args("PV_LXC_EXTRA_CONF", "lxc.a = 1\nnonsense"), e, `line 2 is "nonsense", want "key = value"`, ""},
		{args("PV_LXC_EXTRA_CONF", "other.a = 1"), w, "lxc passes over keys", ""},
		{args("PV_LXC_EXTRA_CONF", "lxc.a = \x00"), e, "line 1 holds a control character", ""},
		{args("PV_RESOLV_CONF_PATH", "etc/my resolv.conf"), e, "holds a blank", ""},
		{args("PV_RUN_TMPFS_PATH", "../run"), e, `climbs out with ".."`, ""},
		{args("PV_RUN_TMPFS_PATH", "/"), e, "is the root itself", ""},

		// mounts and volumes
		{args("PV_FILEIMPORTS", "a"), e, `got "a", want "from:to"`, ""},
		{args("PV_FILEIMPORTS", "a:b,"), e, "has an empty part", ""},
		{args("PV_FILEIMPORTS", "../a:b"), e, "climbs out", ""},
		{args("PV_VOLUME_MOUNTS", "a:b:c"), e, `got "a:b:c", want "from:to"`, ""},
		{args("PV_VOLUME_MOUNTS", "a/b:c"), e, "the volume \"a/b\" cannot be used in paths", ""},
		{args("PV_EXTRA_VOLUMES", "a b"), e, "the volume \"a b\" cannot be used in paths", ""},
		{args("PV_IMPORT_CONFIGVOLUMES", "../c:d"), e, "cannot be used in paths", ""},
		{args("PV_VOLUME_IMPORTS", []any{"os:/x"}), e, `want "container:[sub@]volume:target[:mode]"`, ""},
		{args("PV_VOLUME_IMPORTS", []any{"os:/x:/y:r w"}), e, "is not a mount mode", ""},
		{args("PV_VOLUME_IMPORTS", []any{"os:../s@/x:/y"}), e, "climbs out", ""},
		{persist("/x", "forever"), e, `"forever" of "/x" is not a lifetime`, ""},
		{persist("/x", "permanant"), e, "is not a lifetime", "did you mean permanent?"},
		{persist("ovl", "/var"), e, `"/var" of "ovl" is not a lifetime`, ""},
		{persist("ovl:var", "boot"), e, `the key "ovl:var" is not a path`, `want "/path", "ovl:/path" or "lxc-overlay"`},
		{persist("/x", "boot@a b"), e, "the disk", ""},
		{persist("/x", "boot@persistence"), e, "spelled like a key", ""},
		{persist("/a/b", "boot", "/a-b", "boot"), e, "would both be the volume docker--a-b", ""},
		{persist("/a", "boot", "ovl:/a", "boot"), e, "both a folder of its own and an overlay", ""},
		{persist("/a", "boot", "/a/", "permanent"), e, "stands there twice", ""},
		{persist("ovl:/a:b", "boot"), e, "holds a colon or a comma", ""},
		{persist("/a/../b", "boot"), e, "climbs out", ""},
		{persist("/var/lib/x", "permanent", "ovl:/var", "permanent"), w, `the overlay on "var" is mounted after "var/lib/x" and hides it`, ""},

		// network
		{args("PV_LXC_NETWORK_TYPE", "bridge"), e, "want one of host, empty, phys, veth", ""},
		{args("PV_LXC_NETWORK_TYPE", "phys"), e, "needs PV_LXC_NETWORK_LINK", ""},
		{args("PV_LXC_NETWORK_TYPE", "phys", "PV_LXC_NETWORK_LINK", "a/b"), e, "cannot be the name of a network interface", ""},
		{args("PV_LXC_NETWORK_LINK", "eth0"), w, "has no effect without PV_LXC_NETWORK_TYPE=phys", ""},
		{args("PV_LXC_NETWORK_IPV4_ADDRESS", "10.0.3.2/24"), w, "has no effect without PV_LXC_NETWORK_TYPE=veth", ""},
		{args("PV_LXC_NETWORK_TYPE", "veth", "PV_LXC_NETWORK_IPV4_GATEWAY", "auto"), w, "has no effect without PV_LXC_NETWORK_IPV4_ADDRESS", ""},
		{args("PV_LXC_NETWORK_TYPE", "veth", "PV_LXC_NETWORK_IPV4_ADDRESS", "10.0.3.256"), e, "want an IPv4 address such as 10.0.3.2/24", ""},
		{args("PV_LXC_NETWORK_TYPE", "empty", "PV_LXC_NAMESPACE_KEEP", "user net"), e, "keeps net, which PV_LXC_NETWORK_TYPE=empty takes away", ""},
		{args("PV_NETWORK_POOL", "p", "PV_LXC_NETWORK_TYPE", "veth"), e, "exclude each other: a device refuses a pool beside lxc.net.*", ""},
		{args("PV_NETWORK_POOL", "p", "PV_LXC_EXTRA_CONF", "# x\n lxc.net.0.type = veth"), e, "exclude each other", ""},
		{args("PV_NETWORK_POOL", "p", "PV_LXC_NETWORK_TYPE", "host"), w, "has no effect beside PV_NETWORK_POOL", ""},
		{args("PV_NETWORK_POOL", "hostname"), e, "spelled like a key", ""},
		{args("PV_NETWORK_IP", "10.0.0.1"), w, "has no effect without PV_NETWORK_POOL", ""},
		{args("PV_NETWORK_POOL", "p", "PV_NETWORK_IP", "10.0.0.1/24"), e, "want an IPv4 address such as 10.0.3.1", ""},
		{args("PV_NETWORK_POOL", "p", "PV_NETWORK_IP", "fe80::1"), e, "want an IPv4 address", ""},
		{args("PV_NETWORK_POOL", "p", "PV_NETWORK_MAC", "2:0:0:0:0:1"), e, "want six bytes", ""},
		{args("PV_NETWORK_POOL", "p", "PV_NETWORK_MAC", "01:00:00:00:00:01"), e, "multicast", ""},
		{args("PV_NETWORK_POOL", "p", "PV_NETWORK_HOSTNAME", "a_b"), e, "cannot be a host name", ""},

		{manifest.Source{Name: "ip", Args: obj{"PV_NETWORK_POOL": "p"}}, e, "spelled like a key", ""},
		{manifest.Source{Name: "app", Args: obj{"PV_NETWORK_POOL": "p"}, Network: &manifest.Network{Pool: "p"}}, e, "want one of them", ""},
		{manifest.Source{Name: "app", Network: &manifest.Network{Mode: "bridge", Pool: "p"}}, e, `the mode is "bridge", want pool or host`, ""},
		{manifest.Source{Name: "app", Network: &manifest.Network{Mode: "host", Pool: "p"}}, e, "mode host and a pool exclude each other", ""},
		{manifest.Source{Name: "app", Network: &manifest.Network{Hostname: "h"}}, e, "no pool, so the device ignores it", ""},
		{manifest.Source{Name: "app", Network: &manifest.Network{Pool: "p", IP: "10.0.0.0/8"}}, e, "want an IPv4 address", ""},
		{manifest.Source{Name: "app", Network: &manifest.Network{Pool: "p"}, Args: obj{"PV_LXC_NETWORK_TYPE": "empty"}}, e, "exclude each other", ""},

		// what the device reads of run.json
		{args("PV_DRIVERS_MANUAL", []any{"optional"}), e, "spelled like a key", ""},
		{args("PV_REMOUNT", obj{"default": []any{obj{`/a\.b`: "ro"}}}), e, "PV_REMOUNT: the path", ""},
		{manifest.Source{Name: "app", Logs: []map[string]any{{}}}, e, "logs: an empty object", ""},
		{manifest.Source{Name: "app", Logs: []map[string]any{{"file": []any{"/a"}}}}, e, "logs: file is a list", ""},
		{manifest.Source{Name: "app", Logs: []map[string]any{{"file": "a\"b"}}}, e, "logs: file", ""},
		{args("PV_SERVICES_REQUIRED", []any{"x"}), e, `element 1 is the string "x", want an object with a name`, `write {"name": "x"}`},
		{args("PV_SERVICES_REQUIRED", []any{obj{"type": "unix"}}), e, "element 1 has no name", "refuses the whole revision"},
		{args("PV_SERVICES_REQUIRED", []any{obj{"name": "x", "targt": "/y"}}), e, `"targt" is not a key of a service requirement`, "did you mean target?"},
		{args("PV_SERVICES_REQUIRED", []any{obj{"name": "x", "type": "unixx"}}), w, `service type "unixx"`, "did you mean unix?"},
		{args("PV_SERVICES_REQUIRED", []any{obj{"name": "x", "target": "run/y"}}), e, "is not a clean absolute path", ""},
		{args("PV_SERVICES_REQUIRED", []any{obj{"name": 5}}), e, "name is the number 5, want a text", ""},
		{args("PV_SERVICES_REQUIRED", []any{obj{"name": "target"}}), e, "spelled like a key", ""},
		{args("PV_SERVICES_OPTIONAL", []any{obj{"name": `a"b`}}), e, "holds a quote", ""},
		{args("PV_SERVICES_OPTIONAL", "a,,b"), e, "has an empty part", ""},
		{args("PV_SERVICES_OPTIONAL", "a,a"), w, `"a" stands there twice`, ""},
		{args("PV_SERVICES_OPTIONAL", 5), e, "PV_SERVICES_OPTIONAL: got the number 5, want a list of objects", ""},
		{args("PV_AUTO_RECOVERY", "always"), e, `got the string "always", want an object`, ""},
		{args("PV_AUTO_RECOVERY", obj{"policy": "allways"}), e, "want no, always, on-failure, unless-stopped", ""},
		{args("PV_AUTO_RECOVERY", obj{"policy": "always", "max_retries": "5"}), e, `got the string "5", want a whole number`, "write 5 without quotes"},
		{args("PV_AUTO_RECOVERY", obj{"policy": "always", "max_retries": 1.5}), e, "got the number 1.5, want a whole number", ""},
		{args("PV_AUTO_RECOVERY", obj{"policy": "always", "backoff_factor": "2.0"}), e, "want a number", "write 2.0 without quotes"},
		{args("PV_AUTO_RECOVERY", obj{"policy": "always", "backoff_policy": "10m"}), e, "want reboot, never, or a time", ""},
		{args("PV_AUTO_RECOVERY", obj{"policy": "always", "retries": 5}), e, `"retries" is not one of its members`, ""},
		{args("PV_AUTO_RECOVERY", obj{"max_retries": 5}), w, `without "policy" nothing is recovered`, ""},
		{args("PV_AUTO_RECOVERY", obj{"policy": "unless-stopped"}), w, "do not act on it", ""},
		{args("PV_ROLES", []any{}), e, "an empty list says nothing", `write ["nobody"]`},
		{args("PV_ROLES", []any{"mgmnt"}), w, `devices pass over the role "mgmnt"`, "did you mean mgmt?"},
		{args("PV_DRIVERS_REQUIRED", []any{`a\b`}), e, "holds a quote, a backslash", ""},
		{args("PV_REMOUNT", obj{"default": "x"}), w, `passes over the policy "default"`, ""},
		{manifest.Source{Name: "app", Group: `a"b`}, e, "holds a quote", ""},
		{manifest.Source{Name: "app", Exports: []string{"a\n"}}, e, "exports: the entry", ""},

		// services.json and mdev.json
		{offers(manifest.Service{Type: "unix", Socket: "/a"}), e, "has no name", ""},
		{offers(manifest.Service{Name: "a", Socket: "/a"}), e, `service "a" has no type`, ""},
		{offers(manifest.Service{Name: "a", Type: "tcp", Socket: "/a"}), w, `service type "tcp"`, ""},
		{offers(manifest.Service{Name: "a", Type: "unix", Socket: "a"}), e, "is not a clean absolute path", ""},
		{offers(manifest.Service{Name: "a", Type: "drm", Socket: "/run/a"}), w, "is a device below /dev", ""},
		{offers(manifest.Service{Name: "a", Type: "unix", Socket: "/a"}, manifest.Service{Name: "a", Type: "unix", Socket: "/b"}), e, "offered twice", ""},
		{offers(manifest.Service{Name: "socket", Type: "unix", Socket: "/a"}), e, "spelled like a key", ""},
		{offers(manifest.Service{Name: "a", Type: "unix", Socket: "/a", Role: "r"}), e, `belong to a service with "owns"`, ""},
		{offers(manifest.Service{Owns: "org.x", Type: "unix", Bus: "b"}), e, "want type dbus and a bus", ""},
		{manifest.Source{Name: "app", Mdev: []string{".* 0:0"}}, e, `want "regex user:group mode"`, ""},
		{manifest.Source{Name: "app", Mdev: []string{"[ 0:0 666"}}, e, "is not a regular expression", ""},
		{manifest.Source{Name: "app", Mdev: []string{".* 0 666"}}, e, "is not an owner", ""},
		{manifest.Source{Name: "app", Mdev: []string{".* 0:0 9"}}, e, "is not a mode", ""},
		{manifest.Source{Name: "app", Mdev: []string{".* 0:0 666 foo"}}, e, "cannot follow the mode", ""},
		{manifest.Source{Name: "app", Mdev: []string{`tty\. 0:0 666`}}, e, "does not survive the way to mdev", ""},
	} {
		m, found, err := manifest.Render(c.s)
		name := c.text
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case len(found) == 0:
			t.Errorf("%s: no finding for %+v", name, c.s)
		case found[0].Severity != c.sev || !strings.Contains(found[0].Message, c.text) || !strings.Contains(found[0].Hint, c.hint):
			t.Errorf("want %s %q (%q)\ngot %v", c.sev, c.text, c.hint, found)
		case found[0].Rule == "":
			t.Errorf("%s: no rule", name)
		}
		if worst, _ := diag.Worst(found); (worst == diag.Error) != (m == nil) {
			t.Errorf("%s: manifest %v with findings %v", name, m, found)
		}
	}
}

// TestMdevRulesOfRecipes takes rules that real layers have, and each form of the
// grammar.
func TestMdevRulesOfRecipes(t *testing.T) {
	_, found := render(t, manifest.Source{Name: "app", Mdev: []string{
		".* 0:0 666", "$MODALIAS=.* 0:0       0660    */sbin/modprobe -v -b $MODALIAS", "-tty[0-9]+ root:tty 660",
		"@13,64-95 0:0 640 =input/", "sd[a-z] 0:disk 660 >disk/ @/bin/mount", "null 0:0 666 !",
	}})
	if len(found) != 0 {
		t.Error(found)
	}
}

func TestParse(t *testing.T) {
	old, err := manifest.ParseServices(strings.NewReader(` [{"name":"a","type":"unix","socket":"/a"}]`))
	if err != nil || len(old) != 1 || old[0].Name != "a" {
		t.Errorf("older list: %v %v", old, err)
	}
	for text, want := range map[string]string{
		`{"services":[{"nam":"a"}]}`:           `unknown field "nam"`,
		"{\"services\":\n[1]}":                 "line 2",
		`{"#spec":"x@2","services":[]}`:        `#spec is "x@2"`,
		`[] x`:                                 "something behind",
		``:                                     "EOF",
		`[` + strings.Repeat(" ", 1<<20) + `]`: "more than",
	} {
		if _, err := manifest.ParseServices(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", text, err, want)
		}
	}
	n, err := manifest.ParseNetwork(strings.NewReader(`{"pool":"p","ip":"10.0.0.1"}`))
	if err != nil || n.Pool != "p" || n.IP != "10.0.0.1" {
		t.Errorf("network: %v %v", n, err)
	}
	if _, err := manifest.ParseNetwork(strings.NewReader(`{"pool":"p","interfaces":[]}`)); err == nil || !strings.Contains(err.Error(), "interfaces") {
		t.Errorf("a key that the device does not read: %v", err)
	}
	rules, err := manifest.ParseMdev(strings.NewReader(`{"rules":[".* 0:0 666"]}`))
	if err != nil || len(rules) != 1 {
		t.Errorf("rules: %v %v", rules, err)
	}
	if _, err := manifest.ParseMdev(strings.NewReader(`{"rule":[]}`)); err == nil {
		t.Error("unknown key in mdev.json: no error")
	}
	for text, want := range map[string]string{
		`"x"`:                  "line 1: the file: got string, want an object",
		"{\n\"rules\": \"x\"}": `line 2: "rules": got string, want an array`,
		`{"rules":[5]}`:        `"rules": got number, want a string`,
	} {
		if _, err := manifest.ParseMdev(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
