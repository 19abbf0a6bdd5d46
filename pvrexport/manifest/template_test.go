package manifest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport/manifest"
)

// pvrCase is one question to pvr's template and, in template-full.json, the
// answer.
type pvrCase struct {
	Args   map[string]any  `json:"a"`
	Label  string          `json:"l"`
	Group  string          `json:"g"`
	Source json.RawMessage `json:"s"`
	Docker map[string]any  `json:"d"`
	LXC    *string         `json:"lxc"`
	Run    string          `json:"run"`
	Error  string          `json:"error"`
}

func (p pvrCase) name(t *testing.T) string {
	t.Helper()
	if p.Label != "" {
		return p.Label
	}
	return string(marshal(t, p.Args))
}

func (p pvrCase) source(t *testing.T) manifest.Source {
	t.Helper()
	var s struct {
		Name        string            `json:"name"`
		Exports     []string          `json:"exports"`
		Logs        []map[string]any  `json:"logs"`
		Persistence map[string]string `json:"persistence"`
		Base        string            `json:"base"`
		OvlDigest   string            `json:"docker_ovl_digest"`
		DMEnabled   map[string]bool   `json:"dm_enabled"`
	}
	s.Name = "app"
	if p.Source != nil {
		if err := json.Unmarshal(p.Source, &s); err != nil {
			t.Fatal(err)
		}
	}
	return manifest.Source{
		Name: s.Name, Group: p.Group, Args: p.Args, Config: p.Docker, Exports: s.Exports, Logs: s.Logs,
		Persistence: s.Persistence, Base: s.Base, DMEnabled: s.DMEnabled, Docker: manifest.Docker{OvlDigest: s.OvlDigest},
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(b.Bytes())
}

func readCases(t testing.TB, file string) []pvrCase {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []pvrCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// difference is a case where pvr is wrong and this package differs on purpose.
type difference struct {
	why string
	err string            // the error finding we give instead
	lxc map[string]string // lines of pvr's lxc.container.conf and what stands there here, "" for nothing
	run map[string]any    // members of run.json that pvr has not or has otherwise; nil: not there
}

var differences = map[string]difference{
	`{"PV_LXC_EXTRA_ENV":"A=b"}`: {
		why: "pvr fails with the place in its template instead of the reason",
		err: `PV_LXC_EXTRA_ENV: got the string "A=b", want a list of strings`,
	},
	`{"PV_LXC_CAP_DROP":"SYS_ADMIN"}`: {
		why: "the same", err: `PV_LXC_CAP_DROP: got the string "SYS_ADMIN", want a list of strings`,
	},
	`{"PV_LXC_NETWORK_TYPE":"bogus"}`: {
		why: "pvr silently makes a container without network",
		err: `PV_LXC_NETWORK_TYPE: got "bogus", want one of host, empty, phys, veth`,
	},
	`{"PV_LXC_DISABLE_CONSOLE":"0"}`: {
		why: `pvr takes "0" as true`, lxc: map[string]string{"lxc.console.path = none": ""},
	},
	`{"PV_VOLUME_MOUNTS":"data.squashfs:opt/data,x.squashfs:opt/x"}`: {
		why: "pvr's run.json is not JSON", run: map[string]any{"volumes": []any{"data.squashfs", "x.squashfs"}},
	},
	`{"PV_EXTRA_VOLUMES":"a.squashfs,b.squashfs"}`: {
		why: "pvr's run.json is not JSON", run: map[string]any{"volumes": []any{"a.squashfs", "b.squashfs"}},
	},
	`{"PV_DRIVERS_REQUIRED":"wifi"}`: {
		why: "the device wants a list", err: `PV_DRIVERS_REQUIRED: got the string "wifi", want a list of strings`,
	},
	`{"PV_ROLES":"mgmt"}`: {
		why: "the device refuses the revision", err: `PV_ROLES: got the string "mgmt", want a list of strings`,
	},
	`{"PV_NETWORK_POOL":"internal"}`: {
		why: "newer than that pvr", run: map[string]any{"network": map[string]any{"pool": "internal", "hostname": "app"}},
	},
	`{"PV_AUTO_RECOVERY":{"policy":"always"}}`: {
		why: "newer than that pvr", run: map[string]any{"auto_recovery": map[string]any{"policy": "always"}},
	},
	`{"PV_SERVICES_REQUIRED":[{"name":"x"}]}`: {
		why: "newer than that pvr", run: map[string]any{"services": map[string]any{"required": []any{map[string]any{"name": "x"}}}},
	},
	"persistence bind scheme": {
		why: "pvr makes a volume that is never mounted", err: `persistence: the key "foo:/x" is not a path`,
	},
	"Entrypoint+Cmd2": {
		why: "pvr leaves out the blank (lxc reads the same words)",
		lxc: map[string]string{`lxc.init.cmd = /a "x""y z"`: `lxc.init.cmd = /a "x" "y z"`},
	},
	"Entrypoint string + Cmd": {
		why: "pvr loses Cmd", lxc: map[string]string{"lxc.init.cmd = /a b": `lxc.init.cmd = /a b "x"`},
	},
	"Cmd list": {
		why: `lxc reads "d" and e" out of pvr's text`,
		lxc: map[string]string{`lxc.init.cmd = /a "b c" "d"e"`: `lxc.init.cmd = /a "b c" 'd"e'`},
	},
	`Entrypoint [""]`: {
		why: "lxc takes the quotes off; with a second word they would be the wrong pair",
		lxc: map[string]string{`lxc.init.cmd = "/x"`: "lxc.init.cmd = /x"},
	},
	"name with quote": {
		why: "pvr's run.json is not JSON", err: `the container name "a\"b" cannot be used in paths`,
	},
	`{"PV_RESTART_POLICY":"a\"b"}`: {
		why: "pvr's run.json is not JSON", err: `PV_RESTART_POLICY: got "a\"b", want one of system, container`,
	},
	"layer files/pv-alpine-dbus.args.json": {
		why: "a placeholder that the recipe replaces first", err: `PV_VOLUME_IMPORTS: the container "" cannot be used in paths`,
	},
}

// TestTemplateAgainstPvr compares with pvr's own output: lxc.container.conf byte
// for byte, run.json as JSON.
func TestTemplateAgainstPvr(t *testing.T) {
	cases := readCases(t, "testdata/pvr/template-full.json")
	used := map[string]bool{}
	for _, p := range cases {
		name := p.name(t)
		d, differs := differences[name]
		used[name] = true
		t.Run(name, func(t *testing.T) {
			m, found, err := manifest.Render(p.source(t))
			if err != nil {
				t.Fatal(err)
			}
			if d.err != "" {
				if m != nil || !hasError(found, d.err) {
					t.Fatalf("want the error %q, got %v", d.err, found)
				}
				return
			}
			if m == nil {
				t.Fatalf("pvr accepts this: %v", found)
			}
			if p.LXC == nil {
				if m.File(manifest.ConfFile) != nil {
					t.Errorf("pvr writes no lxc.container.conf, got %s", m.File(manifest.ConfFile))
				}
			} else {
				want := replaceLines(t, *p.LXC, d.lxc)
				if got := string(m.File(manifest.ConfFile)); got != want {
					t.Errorf("lxc.container.conf\n--- want\n%s--- got\n%s", want, got)
				}
			}
			checkRun(t, p, d, differs, name, m.File(manifest.RunFile))
		})
	}
	for name := range differences {
		if !used[name] {
			t.Errorf("no case is called %s", name)
		}
	}
}

func checkRun(t *testing.T, p pvrCase, d difference, differs bool, name string, data []byte) {
	t.Helper()
	got := object(t, data)
	var want map[string]any
	if err := json.Unmarshal([]byte(p.Run), &want); err != nil {
		if !differs {
			t.Fatalf("pvr's run.json is not JSON and the case is not listed: %v", err)
		}
		want = object(t, []byte(strings.ReplaceAll(p.Run, `,\n"`, `,"`)))
	}
	newer := map[string]any{}
	if strings.HasPrefix(name, "layer ") { // arguments that this pvr does not know yet
		for _, key := range []string{"network", "auto_recovery", "services"} {
			if v, ok := got[key]; ok {
				newer[key] = v
			}
		}
	}
	for _, changed := range []map[string]any{d.run, newer} {
		for key, v := range changed {
			want[key] = v
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("run.json\n--- want\n%s\n--- got\n%s", marshal(t, want), marshal(t, got))
	}
}

func replaceLines(t *testing.T, text string, changed map[string]string) string {
	t.Helper()
	for old, line := range changed {
		if !strings.Contains(text, old+"\n") {
			t.Fatalf("pvr does not write %q", old)
		}
		if line != "" {
			line += "\n"
		}
		text = strings.Replace(text, old+"\n", line, 1)
	}
	return text
}

func hasError(found []diag.Diagnostic, text string) bool {
	return slices.ContainsFunc(found, func(d diag.Diagnostic) bool {
		return d.Severity == diag.Error && strings.Contains(d.Message, text)
	})
}

func object(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return m
}

// TestTemplateArgsDiffs reads the other record of the same run, the differences
// to the defaults, and checks that ours are the same lines in the same order.
func TestTemplateArgsDiffs(t *testing.T) {
	added, removed := readDiffs(t)
	base, _, err := manifest.Render(manifest.Source{Name: "app"})
	if err != nil {
		t.Fatal(err)
	}
	defaults := strings.Split(strings.TrimSuffix(string(base.File(manifest.ConfFile)), "\n"), "\n")
	n := 0
	for _, p := range readCases(t, "testdata/pvr/template-cases.json") {
		name := p.name(t)
		if p.Group != "" {
			name = "EffectiveGroup=" + p.Group
		}
		if _, known := added[name]; !known {
			t.Errorf("%s is not in template-args.txt", name)
			continue
		}
		if d := differences[name]; d.err != "" || d.lxc != nil {
			continue
		}
		m, found, err := manifest.Render(p.source(t))
		if err != nil || m == nil {
			t.Errorf("%s: %v %v", name, err, found)
			continue
		}
		if m.File(manifest.ConfFile) == nil {
			if want := []string{"NOT GENERATED"}; !slices.Equal(added[name], want) {
				t.Errorf("%s: no lxc.container.conf, pvr adds %q", name, added[name])
			}
			continue
		}
		n++
		lines := strings.Split(strings.TrimSuffix(string(m.File(manifest.ConfFile)), "\n"), "\n")
		if got := without(lines, defaults); !slices.Equal(got, added[name]) {
			t.Errorf("%s: adds %q, pvr adds %q", name, got, added[name])
		}
		if got := without(defaults, lines); !slices.Equal(got, removed[name]) {
			t.Errorf("%s: removes %q, pvr removes %q", name, got, removed[name])
		}
	}
	if n < 55 {
		t.Errorf("only %d cases were compared", n)
	}
}

// readDiffs returns, for each case of template-args.txt, the lines that pvr adds
// to and takes from lxc.container.conf.
func readDiffs(t *testing.T) (added, removed map[string][]string) {
	t.Helper()
	data, err := os.ReadFile("testdata/pvr/template-args.txt")
	if err != nil {
		t.Fatal(err)
	}
	added, removed = map[string][]string{}, map[string][]string{}
	name := ""
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		line := sc.Text()
		if label, ok := strings.CutPrefix(line, "### "); ok {
			name = label
			added[name] = nil
		} else if l, ok := strings.CutPrefix(line, "    lxc + "); ok {
			added[name] = append(added[name], l)
		} else if l, ok := strings.CutPrefix(line, "    lxc - "); ok {
			removed[name] = append(removed[name], l)
		} else if strings.HasPrefix(line, "    lxc.container.conf: NOT GENERATED") {
			added[name] = []string{"NOT GENERATED"}
		}
	}
	return added, removed
}

// without returns the lines of a that are not in b, in order.
func without(a, b []string) []string {
	rest := slices.Clone(b)
	var out []string
	for _, line := range a {
		if i := slices.Index(rest, line); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
			continue
		}
		out = append(out, line)
	}
	return out
}
