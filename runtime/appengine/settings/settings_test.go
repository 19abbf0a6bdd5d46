package settings_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/runtime/appengine/settings"
)

// captured is the configuration that the captured bodies in testdata were
// answered with: the image's directories, and outputs from the environment. The
// bodies are compared byte for byte: there is no difference to list.
func captured(t *testing.T) *settings.Table {
	t.Helper()
	tab, problems, err := settings.Load(settings.Sources{
		Config:  settings.AppengineConfig(settings.Dirs{Run: "/var/run/pantavisor", Writable: "/var/run/pv/writable"}),
		Cmdline: "pv_rev=0 pv_try=",
		Environ: []string{"PATH=/bin", "PV_LOG_SERVER_OUTPUTS=filetree,stdout_direct", "PV_APPENGINE_INITIAL_REV=0"},
	})
	if err != nil || len(problems) != 0 {
		t.Fatal(err, problems)
	}
	if problems, err := tab.Creds("pantahub.config", tab.CredsFile(), ""); err != nil || len(problems) != 0 {
		t.Fatal(err, problems)
	}
	return tab
}

func TestCapturedConfig(t *testing.T) {
	want, err := os.ReadFile("testdata/config.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(captured(t).Flat()); got != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCapturedConfig2(t *testing.T) {
	want, err := os.ReadFile("testdata/config2.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(captured(t).List())
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPrecedence(t *testing.T) {
	tab := settings.New()
	steps := []struct {
		text  string
		from  settings.Origin
		want  string
		owner string
	}{
		{"1", settings.PVConf, "1", "pv conf file"},
		{"2", settings.Policy, "2", "policy"},
		{"3", settings.PVConf, "2", "policy"},
		{"4", settings.OEM, "4", "oem config"},
		{"5", settings.Env, "5", "env"},
		{"1", settings.PVCmdline, "5", "env"},
		{"3", settings.Metadata, "3", "metadata"},
		{"2", settings.Metadata, "2", "metadata"},
		{"0", settings.Command, "0", "command"},
		{"5", settings.Metadata, "0", "command"},
	}
	for _, s := range steps {
		if err := tab.Set("PV_LOG_LEVEL", s.text, s.from); err != nil {
			t.Fatal(err)
		}
		if got, owner := tab.Word(settings.LogLevel), tab.Origin(settings.LogLevel).String(); got != s.want || owner != s.owner {
			t.Errorf("after %s from %s: %s from %s, want %s from %s", s.text, s.from, got, owner, s.want, s.owner)
		}
	}
	tab.Restore("log.level")
	if got := tab.Word(settings.LogLevel); got != "5" || tab.Origin(settings.LogLevel) != settings.Env {
		t.Errorf("restored %s from %s", got, tab.Origin(settings.LogLevel))
	}
}

func TestSet(t *testing.T) {
	for _, c := range []struct {
		key, text string
		from      settings.Origin
		want      string
		err       error
	}{
		{"pv_debug_ssh", "off", settings.PVConf, "0", nil},
		{"debug.ssh", "7", settings.PVConf, "1", nil},
		{"Debug.ssh", "0", settings.PVConf, "", settings.ErrUnknown},
		{"PV_DEBUG_SSH", "", settings.PVConf, "0", nil},
		{"PV_DEBUG_SSH", "maybe", settings.PVConf, "1", settings.ErrValue},
		{"PV_LOG_LEVEL", "9999999999", settings.PVConf, "0", settings.ErrValue},
		{"PV_WDT_TIMEOUT", "4x", settings.PVConf, "15", settings.ErrValue},
		{"PV_WDT_TIMEOUT", "4", settings.Metadata, "15", settings.ErrNotAllowed},
		{"PV_POWER_WAKE_INTERVAL", "10min", settings.Env, "600", nil},
		{"PV_POWER_WAKE_INTERVAL", "0", settings.Env, "3600", settings.ErrValue},
		{"PV_POWER_WAKE_INTERVAL", "99999d", settings.Env, "3600", settings.ErrValue},
		{"PV_LOG_SERVER_OUTPUTS", "stdout.containers,singlefile", settings.PVConf, "146", nil},
		{"PV_LOG_SERVER_OUTPUTS", "stdout_containers,,nullsink", settings.PVConf, "145", nil},
		{"PV_LOG_SERVER_OUTPUTS", "filetree,wall", settings.PVConf, "132", settings.ErrValue},
		{"PV_SECUREBOOT_MODE", "strict", settings.PVConf, "strict", nil},
		{"PV_SECUREBOOT_MODE", "Strict", settings.PVConf, "lenient", settings.ErrValue},
		{"PV_LOG_TIMESTAMP", "absolute", settings.PVConf, "absolute", nil},
		{"PH_CREDS_HOST", "", settings.PHConf, "", nil},
		{"PH_CREDS_ID", "x", settings.PHClient, "x", nil},
		{"PH_CREDS_HOST", "x", settings.PVConf, "api.pantahub.com", settings.ErrNotAllowed},
		{"meta.cache.dir", "/x", settings.PVConf, "/x", nil},
		{"PV_SECUREBOOT_OEM_TRUSTORE", "t", settings.PVConf, "t", nil},
	} {
		tab := settings.New()
		err := tab.Set(c.key, c.text, c.from)
		if !errors.Is(err, c.err) {
			t.Errorf("%s=%s: %v, want %v", c.key, c.text, err, c.err)
		}
		key := map[string]settings.Key{"debug.ssh": settings.DebugSSH, "meta.cache.dir": settings.CacheUsrmetadir,
			"PV_SECUREBOOT_OEM_TRUSTORE": settings.SecurebootOEMTruststore}[c.key]
		if key == "" {
			key = settings.Key(strings.ToUpper(c.key))
		}
		if c.err != settings.ErrUnknown && tab.Word(key) != c.want {
			t.Errorf("%s=%s: shows %s, want %s", c.key, c.text, tab.Word(key), c.want)
		}
	}
}

func TestProblemsHaveLines(t *testing.T) {
	src := "# a comment\nPV_LOG_LEVEL=4\n\nnonsense\nlog.push=0\nPV_SYSCTL_KERNEL_PANIC=5\nPV_DEBUG_SSH=perhaps\r\nPV_OEM_NAME= a b \nPV_NEW=1\nPV_LOG_LEVEL=5\n"
	tab, problems, err := settings.Load(settings.Sources{Config: []byte(src), ConfigName: "p.config"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Error())
	}
	want := []string{
		`p.config:4: "nonsense" is not KEY=value`,
		`p.config:5: log.push: this is the old name of a setting: write PV_LOG_PUSH`,
		`p.config:6: PV_SYSCTL_KERNEL_PANIC: kernel parameters are left to the machine`,
		`p.config:7: PV_DEBUG_SSH in pv conf file: this is not a value for the setting: "perhaps" is neither true nor false`,
		`p.config:9: PV_NEW: no such setting`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	if tab.Text(settings.OEMName) != " a b " || tab.Int(settings.LogLevel) != 5 || tab.Bool(settings.LogPush) {
		t.Errorf("values: %q %d %t", tab.Text(settings.OEMName), tab.Int(settings.LogLevel), tab.Bool(settings.LogPush))
	}
}

func TestPolicy(t *testing.T) {
	policy := func(name string) ([]byte, error) {
		if name != "/etc/pantavisor/policies/prod.config" && name != "/my/policies/prod.config" {
			return nil, os.ErrNotExist
		}
		return []byte("PV_LOG_LEVEL=1\nPV_DEBUG_SHELL=0\n"), nil
	}
	tab, problems, err := settings.Load(settings.Sources{
		Config: []byte("PV_POLICY=test\nPV_LOG_LEVEL=4\n"), Policy: policy,
		Cmdline: "quiet pv_policy=prod pv_debug.shell=1 ph_creds.host=h",
	})
	if err != nil || len(problems) != 2 { // the two old names
		t.Fatal(err, problems)
	}
	if tab.Int(settings.LogLevel) != 1 || tab.Origin(settings.LogLevel) != settings.Policy {
		t.Errorf("log level %s from %s", tab.Word(settings.LogLevel), tab.Origin(settings.LogLevel))
	}
	if !tab.Bool(settings.DebugShell) || tab.Origin(settings.DebugShell) != settings.PVCmdline {
		t.Errorf("debug shell from %s", tab.Origin(settings.DebugShell))
	}
	if _, _, err := settings.Load(settings.Sources{Config: []byte("PV_POLICY=prod\nPV_SYSTEM_ETCPANTAVISORDIR=/my\n"), Policy: policy}); err != nil {
		t.Errorf("in a directory of its own: %v", err)
	}
	for _, src := range []settings.Sources{
		{Config: []byte("PV_POLICY=gone\n"), Policy: policy},
		{Config: []byte("PV_POLICY=prod\n")},
	} {
		if _, _, err := settings.Load(src); err == nil {
			t.Errorf("%s: no error", src.Config)
		}
	}
	if _, _, err := settings.Load(settings.Sources{Config: []byte("PV_POLICY=../x\n")}); err != nil {
		t.Errorf("a policy with a slash is none: %v", err)
	}
}

func TestUserMetadata(t *testing.T) {
	tab := settings.New()
	if err := tab.Override("some.key", "x"); !errors.Is(err, settings.ErrUnknown) {
		t.Error(err)
	}
	if err := tab.Override("PV_LOG_LEVEL", "x"); !errors.Is(err, settings.ErrValue) {
		t.Error(err)
	}
	if err := tab.Override("debug.ssh_authorized_keys", "ssh-ed25519 AAAA <me>"); err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(tab.Flat()), `"debug.ssh_authorized_keys":"ssh-ed25519 AAAA <me>"`) {
		t.Errorf("%s", tab.Flat())
	}
	tab.Restore("PV_DEBUG_SSH_AUTHORIZED_KEYS")
	tab.Restore("PV_LOG_LEVEL")
	if w := tab.Word(settings.DebugSSHAuthorizedKeys); w != "(null)" {
		t.Error(w)
	}
}

func TestSecretsAreShownToTheAPIOnly(t *testing.T) {
	tab := settings.New()
	if err := tab.Set("PH_CREDS_SECRET", "hush", settings.PHConf); err != nil {
		t.Fatal(err)
	}
	find := func(list []string) bool { return slices.Contains(list, "hush") }
	var api, public []string
	for _, s := range tab.List() {
		api = append(api, s.Value)
	}
	for _, s := range tab.Public() {
		public = append(public, s.Value)
	}
	if !find(api) || find(public) {
		t.Errorf("api %t, public %t", find(api), find(public))
	}
}

func TestLogLimit(t *testing.T) {
	const total = 100 << 30
	for _, c := range []struct {
		text  string
		tmpfs bool
		want  int64
	}{
		{"2147483647", false, 2147483647}, {"0", false, total / 10}, {"0", true, total}, {"", false, total / 10},
		{"16M", false, 16 << 20}, {"16MB", false, 16e6}, {"2K", false, 2048}, {"10%", false, total / 10},
		{"900T", false, total}, {"101%", false, -1}, {"x", false, -1}, {"-1", false, -1}, {"99999999T", false, -1}, {"5KK", false, -1},
	} {
		tab := settings.New()
		if err := tab.Set("PV_LOG_DIR_MAXSIZE", c.text, settings.PVConf); err != nil {
			t.Fatal(err)
		}
		got, err := tab.LogLimit(total, c.tmpfs)
		if c.want < 0 && err == nil || c.want >= 0 && (err != nil || got != c.want) {
			t.Errorf("%q: %d, %v; want %d", c.text, got, err, c.want)
		}
	}
}

func FuzzCmdline(f *testing.F) {
	f.Add("quiet pv_log.level=5 pv_rev=1 ph_creds.host=h", "PV_LOG_LEVEL=2")
	f.Add("pv_ pv_= pv_policy=../x", "PV_")
	f.Fuzz(func(t *testing.T, line, env string) {
		tab, _, err := settings.Load(settings.Sources{Cmdline: line, Environ: []string{env}, Policy: func(name string) ([]byte, error) {
			if dir := "/etc/pantavisor/policies/"; strings.Contains(strings.TrimPrefix(name, dir), "/") {
				t.Errorf("policy %q", name)
			}
			return nil, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range tab.List() {
			if s.Modified != "default" && s.Modified != "env" && s.Modified != "pv cmdline" {
				t.Errorf("%+v", s)
			}
			if s.Modified == "env" && !strings.EqualFold(env[:strings.IndexByte(env+"=", '=')], s.Key) {
				t.Errorf("%q set %s", env, s.Key)
			}
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add("PV_LOG_LEVEL=4\n#x\nlog.push=0\r\n=\nPV_X")
	f.Add(string(settings.AppengineConfig(settings.Dirs{})))
	f.Fuzz(func(t *testing.T, src string) {
		tab := settings.New()
		if _, err := tab.Read("f", strings.NewReader(src), settings.PVConf); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(tab.Flat()) {
			t.Errorf("%s", tab.Flat())
		}
		// What the table shows sets the same again.
		again := settings.New()
		for _, s := range tab.List() {
			if s.Modified != "default" && s.Key != "PV_LOG_SERVER_OUTPUTS" {
				if err := again.Set(s.Key, s.Value, settings.PVConf); err != nil {
					t.Errorf("%s=%q: %v", s.Key, s.Value, err)
				}
			}
		}
	})
}
