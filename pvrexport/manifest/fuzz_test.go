package manifest_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport/manifest"
)

// confKeys are the keys that the template writes; with PV_LXC_EXTRA_CONF left
// out, no other line may ever appear.
var confKeys = []string{
	"lxc.tty.max", "lxc.pty.max", "lxc.log.file", "lxc.rootfs.path", "lxc.init.cmd", "lxc.init.cwd", "lxc.environment",
	"lxc.namespace.keep", "lxc.console.path", "lxc.mount.auto", "lxc.autodev", "lxc.mount.entry", "lxc.cap.drop", "lxc.cap.keep",
	"lxc.net.0.type", "lxc.net.0.link", "lxc.net.0.flags", "lxc.net.0.ipv4.address", "lxc.net.0.ipv4.gateway",
}

// once are the keys of which one line is right.
var once = []string{"lxc.tty.max", "lxc.pty.max", "lxc.rootfs.path", "lxc.init.cmd", "lxc.namespace.keep", "lxc.mount.auto"}

// FuzzRender renders whatever arguments, image configuration and persistence
// say, and checks what must always hold.
func FuzzRender(f *testing.F) {
	for _, p := range readCases(f, "testdata/pvr/template-full.json") {
		a, _ := json.Marshal(p.Args)
		d, _ := json.Marshal(p.Docker)
		f.Add("app", string(a), string(d), `{"/x": "boot", "ovl:/var": "permanent@d"}`, `[{"Name":"a","Type":"unix","Socket":"/a"}]`)
	}
	f.Add("a\nb", `{"PV_LXC_EXTRA_ENV":["A=\nlxc.x = 1"],"PV_GROUP":"\"}"}`, `{"Cmd":["\n"],"Env":["\r=1"],"WorkingDir":"\u2028"}`, `{"/a\nb":"boot"}`, `[]`)
	f.Add("app", `{"PV_NETWORK_POOL":"p","PV_SERVICES_REQUIRED":"a,b","PV_AUTO_RECOVERY":{"policy":"always","backoff_factor":1e2}}`,
		`{"Cmd":["a b","'","\""]}`, `{}`, `[{"Type":"dbus","Owns":"o","Bus":"b"}]`)
	f.Fuzz(func(t *testing.T, name, args, config, persistence, services string) {
		s := manifest.Source{Name: name}
		for text, into := range map[string]any{args: &s.Args, config: &s.Config, persistence: &s.Persistence, services: &s.Services} {
			_ = json.Unmarshal([]byte(text), into) // what does not decode stays empty
		}
		delete(s.Args, "PV_LXC_EXTRA_CONF")
		m, found, err := manifest.Render(s)
		if err != nil {
			return
		}
		if worst, some := diag.Worst(found); some && worst == diag.Error {
			if m != nil {
				t.Fatal("a manifest in spite of errors")
			}
			return
		}
		again, _, _ := manifest.Render(s)
		for file, data := range m.Files() {
			if !bytes.Equal(data, again.File(file)) {
				t.Fatalf("%s: two renderings differ", file)
			}
			if strings.HasSuffix(file, ".json") && !json.Valid(data) {
				t.Fatalf("%s is not JSON: %s", file, data)
			}
		}
		checkConf(t, m.File(manifest.ConfFile))
		checkWords(t, s, m.File(manifest.ConfFile))
	})
}

func checkConf(t *testing.T, conf []byte) {
	t.Helper()
	if conf == nil {
		return
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(conf)) {
		key, _, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " =")
		if strings.HasPrefix(line, "lxc.cgroup.") {
			continue
		}
		if !ok || !slices.Contains(confKeys, key) || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\r\x00\n") {
			t.Fatalf("a line that the template does not write: %q", line)
		}
		seen[key]++
	}
	for _, key := range once {
		if seen[key] != 1 {
			t.Fatalf("%s stands there %d times in\n%s", key, seen[key], conf)
		}
	}
}

// checkWords reads the command as lxc would and compares it with the words.
func checkWords(t *testing.T, s manifest.Source, conf []byte) {
	t.Helper()
	var want []string
	for i, key := range []string{"Entrypoint", "Cmd"} {
		list, ok := s.Config[key].([]any)
		if s.Config[key] != nil && !ok {
			return // text: split by lxc
		}
		for _, w := range list {
			want = append(want, w.(string))
		}
		if i == 0 && slices.Equal(want, []string{""}) {
			want = nil
		}
	}
	if conf == nil || len(want) == 0 || slices.Equal(want, []string{""}) {
		return
	}
	for line := range strings.Lines(string(conf)) {
		if value, ok := strings.CutPrefix(line, "lxc.init.cmd ="); ok {
			if got := lxcWords(value); !slices.Equal(got, want) {
				t.Fatalf("lxc reads %q out of %q, want %q", got, line, want)
			}
		}
	}
}

// lxcWords is a second reading of lxc's rules, letter by letter as its parse_line
// and lxc_string_split_quoted do it.
func lxcWords(value string) []string {
	value = strings.Trim(value, " \t\n")
	if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	var words []string
	var word []byte
	state := byte(' ')
	for i := 0; i < len(value); i++ {
		c := value[i]
		blank := strings.IndexByte(" \t\n\v\f\r", c) >= 0
		switch {
		case state == ' ' && blank:
		case state == ' ' && (c == '"' || c == '\''):
			state = c
		case state == ' ':
			state, word = 'a', append(word, c)
		case state == 'a' && blank, state != 'a' && c == state:
			words, word, state = append(words, string(word)), nil, ' '
		default:
			word = append(word, c)
		}
	}
	if state == 'a' {
		words = append(words, string(word))
	}
	return words
}

// FuzzCommand checks that JoinCommand and SplitCommand undo each other.
func FuzzCommand(f *testing.F) {
	for _, seed := range []string{"/a b", `/a|"b c"|d"e`, `'|"`, "|", `a b|"x"|it's`, "a\nb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Split(text, "|")
		if line, err := manifest.JoinCommand(words); err == nil {
			got, err := manifest.SplitCommand(line)
			if err != nil || !slices.Equal(got, words) {
				t.Fatalf("%q became %q and then %q, %v", words, line, got, err)
			}
		}
		// A word before and behind keeps lxc from taking quotes off the whole.
		line := "x " + text + " x"
		if got, err := manifest.SplitCommand(line); err == nil && !slices.Equal(got, lxcWords(line)) {
			t.Fatalf("%q: got %q, lxc reads %q", line, got, lxcWords(line))
		}
	})
}

// FuzzParse feeds the readers of hand-written files.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"#spec":"service-manifest-xconnect@1","services":[{"name":"a","type":"unix","socket":"/a"}]}`))
	f.Add([]byte(`[{"type":"dbus","owns":"x","allow":["a"]}]`))
	f.Add([]byte(`{"rules":[".* 0:0 666"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		services, err1 := manifest.ParseServices(bytes.NewReader(data))
		rules, err2 := manifest.ParseMdev(bytes.NewReader(data))
		if err1 != nil && err2 != nil {
			return
		}
		if _, _, err := manifest.Render(manifest.Source{Name: "app", Services: services, Mdev: rules}); err != nil {
			t.Fatal(err)
		}
	})
}
