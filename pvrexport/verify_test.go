package pvrexport_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport"
)

// rules lists findings as "severity rule file: message".
func rules(ds []diag.Diagnostic) string {
	var lines []string
	for _, d := range ds {
		lines = append(lines, d.Severity.String()+" "+d.Rule+" "+d.Pos.String()+": "+d.Message)
	}
	return strings.Join(lines, "\n")
}

func verify(t *testing.T, in []byte, opts pvrexport.VerifyOptions) []diag.Diagnostic {
	t.Helper()
	opts.TempDir = t.TempDir()
	ds, _, err := pvrexport.Verify(context.Background(), bytes.NewReader(in), opts)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

func TestVerifyFindsNothingInOurs(t *testing.T) {
	s, objects := sample(t)
	for _, c := range []pvrexport.Compression{pvrexport.Gzip, pvrexport.None} {
		if ds := verify(t, write(t, s, objects, pvrexport.WriteOptions{Compression: c}), pvrexport.VerifyOptions{}); len(ds) > 0 {
			t.Errorf("%v:\n%s", c, rules(ds))
		}
	}
}

// TestVerifyRealState checks the signed state of a real export. Its volume
// has the persistence that pvr's bug with --volume gave it.
func TestVerifyRealState(t *testing.T) {
	src, err := os.ReadFile("testdata/state.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := pvrexport.DecodeState(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	want := `warning run-storage app/run.json: "storage.docker-ovl.persistence" is "/var", not permanent, revision or boot: devices take it for boot`
	if got := rules(pvrexport.VerifyState(s)); got != want {
		t.Errorf("got %s", got)
	}
}

func TestVerifyArchive(t *testing.T) {
	st, ob := one()
	abd := item{name: ob.name, content: "abd"}
	dir := item{name: "objects/", header: tar.Header{Typeflag: tar.TypeDir}}
	pax := item{name: ob.name, content: ob.content, header: tar.Header{Format: tar.FormatPAX, PAXRecords: map[string]string{"comment": "x"}}}
	long := item{name: "objects/" + strings.Repeat("x/", 60) + "y"}
	gnuLong := item{name: "objects/" + strings.Repeat("x", 120), header: tar.Header{Format: tar.FormatGNU}}
	good := archiveOf(t, st, ob)
	s, objects := sample(t)
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"zstd", write(t, s, objects, pvrexport.WriteOptions{Compression: pvrexport.Zstd}), "error compression -: "},
		{"pax", archiveOf(t, st, pax), "error tar-pax " + ob.name},
		{"directory", archiveOf(t, st, dir, ob), "error tar-directory objects/: "},
		{"dot slash", archiveOf(t, item{name: "./json", content: st.content}, ob), "error tar-dot-slash ./json: "},
		{"prefix", archiveOf(t, st, ob, long), "error tar-name " + long.name},
		{"gnu long name", archiveOf(t, st, ob, gnuLong), "error tar-extension " + gnuLong.name},
		{"state last", archiveOf(t, ob, st), "note tar-order " + ob.name},
		{"twice", archiveOf(t, st, ob, ob), "note tar-twice " + ob.name},
		{"no end", good[:len(good)-1024], "warning tar-end -: "},
		{"digest", archiveOf(t, st, abd), "error object-digest " + ob.name + ": object ba7816bf"},
		{"digest is missing too", archiveOf(t, st, abd), "error object-missing " + ob.name},
		{"two states", archiveOf(t, st, ob, st), "error state-twice json: "},
		{"stray", archiveOf(t, st, ob, item{name: "../x"}), "error entry-name ../x: "},
		{"link", archiveOf(t, st, item{name: ob.name, header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}}), "error entry-type " + ob.name + ": it is a symbolic link"},
		{"unknown object", archiveOf(t, item{name: "json", content: "{" + spec + "}"}, ob), "error object-unknown " + ob.name},
		{"bad state", archiveOf(t, item{name: "json", content: "{\n!"}), "error state json:2:1: '!' where a key should be"},
		{"climbing state", archiveOf(t, item{name: "json", content: "{" + spec + `,"../x":1}`}), `error state json:1:40: key "../x" has the part ".."`},
		{"no state", archiveOf(t, ob), "error state-missing -: "},
		{"truncated", gzipped(t, good)[:150], "error archive json: the archive ends too early"},
		{"10 TB", forged(archiveOf(t, ob), "\x80\x00\x00\x00\x00\x00\x09\x18\x4e\x72\xa0\x00"), "error tar-size " + ob.name},
		{"not an archive", []byte("hello"), "error archive -: not a tar archive"},
		{"not canonical", archiveOf(t, item{name: "json", content: st.content + " "}, ob), "error state-canonical json: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := rules(verify(t, c.in, pvrexport.VerifyOptions{})); !strings.Contains("\n"+got, "\n"+c.want) {
				t.Errorf("got\n%s\nwant %s", got, c.want)
			}
		})
	}
}

// A problem is reported once, not with what follows from it: a state that
// cannot be read is not missing, and a stray entry is in no order.
func TestVerifyArchiveReportsOnce(t *testing.T) {
	st, ob := one()
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"bad state", archiveOf(t, item{name: "json", content: "[]"}, ob), "state"},
		{"large state", archiveOf(t, item{name: "json", content: strings.Repeat(" ", pvrexport.MaxStateSize+1)}, ob), "limit"},
		{"bad state and another", archiveOf(t, item{name: "json", content: "[]"}, st, ob), "state state-twice"},
		{"stray", archiveOf(t, st, ob, item{name: "../x"}), "entry-name"},
	} {
		var got []string
		for _, d := range verify(t, c.in, pvrexport.VerifyOptions{}) {
			if d.Severity == diag.Error || d.Rule == "tar-order" {
				got = append(got, d.Rule)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}

func TestVerifyErrors(t *testing.T) {
	disk := errors.New("bad sector")
	if _, _, err := pvrexport.Verify(context.Background(), errReader{disk}, pvrexport.VerifyOptions{TempDir: t.TempDir()}); !errors.Is(err, disk) {
		t.Errorf("got %v", err)
	}
	if _, _, err := pvrexport.Verify(context.Background(), strings.NewReader(""), pvrexport.VerifyOptions{TempDir: "/nonexistent"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestVerifyCheckObject(t *testing.T) {
	s, objects := sample(t)
	var seen []string
	ds := verify(t, write(t, s, objects, pvrexport.WriteOptions{}), pvrexport.VerifyOptions{
		CheckObject: func(name, id string, r io.ReaderAt, size int64) []diag.Diagnostic {
			content := make([]byte, size)
			if _, err := r.ReadAt(content, 0); err != nil && err != io.EOF || pvrexport.ObjectID(content) != id {
				t.Errorf("%s: %v", name, err)
			}
			seen = append(seen, name)
			if name == "app/root.squashfs" {
				return []diag.Diagnostic{{Pos: diag.Position{File: name}, Severity: diag.Error, Rule: "squashfs", Message: "no"}}
			}
			return nil
		}})
	if got := rules(ds); got != "error squashfs app/root.squashfs: no" {
		t.Errorf("got %s", got)
	}
	if want := []string{"app/empty", "app/lxc.container.conf", "app/root.squashfs", "app/twin"}; !slices.Equal(seen, want) {
		t.Errorf("checked %v", seen)
	}
}

// verifyMembers checks a canonical state with the given members.
func verifyMembers(t *testing.T, members string) string {
	t.Helper()
	s, err := pvrexport.DecodeState(bytes.NewReader(state(t, members).Encode()))
	if err != nil {
		t.Fatal(err)
	}
	return rules(pvrexport.VerifyState(s))
}

// TestVerifyRun gives a good container one bad member after the other.
func TestVerifyRun(t *testing.T) {
	const good = `"#spec":"service-manifest-run@1","name":"app","type":"lxc","config":"c","root-volume":"r","volumes":[]`
	for _, c := range []struct{ run, want string }{
		{good, ``},
		{good + `,"conditions":[1],"remount":{}`, ``},
		{strings.Replace(good, `"app"`, `"other"`, 1), `error run-name app/run.json: "name" is "other", but the directory is "app"`},
		{strings.Replace(good, `"name":"app",`, ``, 1), `error run-name app/run.json: "name" is missing`},
		{strings.Replace(good, `"lxc"`, `"docker"`, 1), `error run-lxc app/run.json: "type" is "docker"`},
		{strings.Replace(good, `"config":"c",`, ``, 1), `error run-config app/run.json: "config" is missing`},
		{strings.Replace(good, `"config":"c"`, `"config":"d"`, 1), `error run-config app/run.json: "config" names "d", but the state has no app/d`},
		{strings.Replace(good, `"config":"c"`, `"config_extra":"c"`, 1), `error run-key-prefix app/run.json: devices take the key "config_extra" for "config"`},
		{strings.Replace(good, `"r"`, `"dm:r"`, 1), ``},
		{strings.Replace(good, `"r"`, `"x"`, 1), `error run-volume app/run.json: "root-volume" names "x"`},
		{strings.Replace(good, `"root-volume":"r",`, ``, 1), `warning run-volume app/run.json: "root-volume" is missing`},
		{strings.Replace(good, `[]`, `["x"]`, 1), `error run-volume app/run.json: "volumes[0]" names "x"`},
		{strings.Replace(good, `[]`, `[1]`, 1), `error run-type app/run.json: "volumes[0]" is a number`},
		{strings.Replace(good, `[]`, `"r"`, 1), `error run-type app/run.json: "volumes" is a string; devices need an array`},
		{strings.Replace(good, `run@1`, `run@2`, 1), `warning run-spec app/run.json: "#spec" is "service-manifest-run@2"`},
		{good + `,"group":"app"`, ``},
		{good + `,"group":"mine"`, `warning run-group app/run.json: "group" is "mine"`},
		{good + `,"group":7`, `error run-type app/run.json: "group" is a number; devices need a string`},
		{good + `,"group":null`, `error run-type app/run.json: "group" is null`},
		{good + `,"restart_policy":"always"`, `error run-restart-policy app/run.json: "restart_policy" is "always", not one of system, container: devices refuse`},
		{good + `,"status_goal":"started"`, `error run-status-goal app/run.json: "status_goal" is "started"`},
		{good + `,"runlevel":"user"`, `warning run-runlevel app/run.json: "runlevel" is "user"`},
		{good + `,"automodfw":"off"`, `warning run-automodfw app/run.json: "automodfw" is "off"`},
		{good + `,"dev-log":"true"`, `error run-type app/run.json: "dev-log" is a string; devices need a boolean`},
		{good + `,"roles":["nobody","mgmt"]`, ``},
		{strings.Replace(good, `"type":"lxc","config":"c"`, `"runlevel":"data"`, 1), ``},
		{good + `,"logs":[{"file":"/x","maxsize":1}]`, ``},
		{good + `,"logs":["/x"]`, `error run-logs app/run.json: "logs[0]" is "/x", not an object`},
		{good + `,"logs":[{}]`, `error run-logs app/run.json: "logs[0]" is {}, not`},
		{good + `,"roles":["admin"]`, `warning run-roles app/run.json: "roles[0]" is "admin"`},
		{good + `,"roles":"mgmt"`, `error run-type app/run.json: "roles" is a string`},
		{good + `,"storage":{"v":{"persistence":"permanent"}}`, ``},
		{good + `,"storage":{"v":{}}`, `error run-storage app/run.json: "storage.v" has no persistence`},
		{good + `,"storage":{"v":"boot"}`, `error run-storage app/run.json: "storage.v" is a string`},
		{good + `,"storage":{"v":{"persistence":"forever"}}`, `warning run-storage app/run.json: "storage.v.persistence" is "forever"`},
		{good + `,"drivers":{"required":"wifi"}`, `error run-drivers app/run.json: "drivers.required" is a string`},
		{good + `,"drivers":{"manual":[{}]}`, `error run-drivers app/run.json: "drivers.manual[0]" is an object`},
		{good + `,"auto_recovery":{"policy":"on-failure","max_retries":5,"backoff_factor":1.5,"backoff_policy":"10min"}`, ``},
		{good + `,"auto_recovery":{"policy":"maybe"}`, `error run-auto-recovery app/run.json: "auto_recovery.policy" is "maybe"`},
		{good + `,"auto_recovery":{"max_retries":"5"}`, `error run-auto-recovery app/run.json: "auto_recovery.max_retries" is "5"; devices need an integer`},
		{good + `,"auto_recovery":{"max_retries":5.5}`, `error run-auto-recovery app/run.json: "auto_recovery.max_retries" is 5.5E0`},
		{good + `,"auto_recovery":{"backoff_factor":"fast"}`, `error run-auto-recovery app/run.json: "auto_recovery.backoff_factor" is "fast"`},
		{good + `,"auto_recovery":{"backoff_policy":"10m"}`, `error run-auto-recovery app/run.json: "auto_recovery.backoff_policy" is "10m"`},
		{good + `,"auto_recovery":{"max_retrys":5}`, `warning run-auto-recovery app/run.json: "auto_recovery.max_retrys" is unknown to devices; did you mean "max_retries"?`},
		{good + `,"network":{"pool":"internal","hostname":"h","ip":"10.0.5.2","mac":"02:00:00:00:00:01"}`, ``},
		{good + `,"network":{"mode":"bridge"}`, `error run-network app/run.json: "network.mode" is "bridge"`},
		{good + `,"network":{"mode":"pool","pool":"internal"}`, ``},
		{good + `,"services":{"optional":[{"name":"target"}]}`, ``},
		{good + `,"network":{"hostname":"hostname"}`, `error value-like-key app/run.json: "network.hostname" is "hostname"`},
		{good + `,"network":{"mac":"02:00:00:00:00:01","pool":"mac"}`, ``},
		{good + `,"network":{"mode":"pool"}`, `error run-network app/run.json: "network.mode" is pool, but`},
		{good + `,"network":{"pool":"p","ip":"10.0.5.2/24"}`, `error run-network app/run.json: "network.ip" is "10.0.5.2/24"`},
		{good + `,"network":{"pool":"p","mac":"xx"}`, `error run-network app/run.json: "network.mac" is "xx"`},
		{good + `,"network":{"pool":["p"]}`, `error run-network app/run.json: "network.pool" is an array`},
		{good + `,"network":{"interfaces":[]}`, `warning run-network app/run.json: "network.interfaces" is not read`},
		{good + `,"network":{"hostname":"ip","pool":"p"}`, `error value-like-key app/run.json: "network.hostname" is "ip"`},
		{good + `,"services":{"required":[{"name":"bus","type":"dbus","role":"root","interface":"a.b","target":"/run/x"}]}`, `note service-provider app/run.json: the required service "bus" has no provider here`},
		{good + `,"services":{"required":[{"name":"own"}]}`, ``},
		{good + `,"services":{"optional":[{"name":"bus"}]}`, ``},
		{good + `,"services":["bus"]`, `error run-type app/run.json: "services" is an array; devices need an object`},
		{good + `,"services":{"required":"bus"}`, `error run-services app/run.json: "services.required" is a string; devices see no requirement`},
		{good + `,"services":{"required":["bus"]}`, `error run-services app/run.json: "services.required[0]" is not an object with a "name"`},
		{good + `,"services":{"required":[{"type":"dbus"}]}`, `error run-services app/run.json: "services.required[0]" is not`},
		{good + `,"services":{"optional":["bus"]}`, `warning run-services app/run.json: "services.optional[0]" is not`},
		{good + `,"services":{"requires":[]}`, `warning run-services app/run.json: "services.requires" is unknown to devices`},
		{good + `,"services":{"optional":[{"name":"x","type":"tcp"}]}`, `warning run-services app/run.json: "services.optional[0].type" is "tcp"`},
		{good + `,"services":{"optional":[{"name":"x","role":7}]}`, `error run-services app/run.json: "services.optional[0].role" is a number`},
		{good + `,"services":{"optional":[{"name":"x","traget":"/y"}]}`, `warning run-services app/run.json: "services.optional[0].traget" is unknown to devices; did you mean "target"?`},
		{good + `,"services":{"optional":[{"name":"role","type":"unix"}]}`, `error value-like-key app/run.json: "services.optional[0].name" is "role"`},
	} {
		got := verifyMembers(t, `"app/run.json":{`+c.run+`},"app/c":"`+idA+`","app/r":"`+idA+`","own/run.json":{`+
			strings.Replace(good, `"app"`, `"own"`, 1)+`},"own/c":"`+idA+`","own/r":"`+idB+`","own/services.json":{"#spec":"service-manifest-xconnect@1","services":[{"name":"own","type":"unix","socket":"/s"}]}`)
		if c.want == "" && got != "" || c.want != "" && !strings.Contains("\n"+got, "\n"+c.want) {
			t.Errorf("%s\ngot  %s\nwant %s", c.run, got, c.want)
		}
	}
}

func TestVerifyGroups(t *testing.T) {
	const run = `"app/run.json":{"#spec":"service-manifest-run@1","name":"app","root-volume":"r","status_goal":"MOUNTED",`
	files := `,"app/r":"` + idA + `"`
	for _, c := range []struct{ members, want string }{
		{run + `"group":"mine"}` + files + `,"groups.json":[{"name":"mine"}]`, ``},
		{run + `"group":"mine"}` + files + `,"device.json":{"groups":[{"name":"mine"}]}`, ``},
		{run + `"group":"app"}` + files + `,"groups.json":[{"name":"mine"}]`, `error run-group app/run.json: "group" is "app", not one of mine: devices refuse`},
		{run + `"runlevel":"app"}` + files + `,"groups.json":[{"name":"mine"}]`, `error run-group app/run.json: "runlevel" is "app", and the state defines no group`},
	} {
		got := verifyMembers(t, c.members)
		if c.want == "" && got != "" || !strings.Contains("\n"+got, "\n"+c.want) {
			t.Errorf("%s\ngot  %s\nwant %s", c.members, got, c.want)
		}
	}
}

func TestVerifyState(t *testing.T) {
	header := func(h string) string {
		return `"_sigs/app.json":{"#spec":"pvs@2","protected":"` + base64.RawURLEncoding.EncodeToString([]byte(h)) + `","signature":"AA"},"app.txt":"` + idA + `"`
	}
	const pvs = `"pvs":{"include":["app.txt"],"exclude":[]},"typ":"PVS","x5c":["AAAA"]`
	for _, c := range []struct{ members, want string }{
		{`" x":"` + idA + `"`, `error state-spec-first  x: `},
		{`"a\\b":"` + idA + `"`, `error state-key-escape a\b: `},
		{`"disks":"` + idA + `"`, `error state-key-lost disks: devices take the key for "disks.json"`},
		{`"x":"short"`, `error state-value x: the value is a string; a file that is not .json needs the id`},
		{`"x":{}`, `error state-value x: the value is an object`},
		{`"x.json":"{\"a\":1}"`, `error state-value x.json: devices parse the string as JSON again`},
		{`"x.json":null`, `warning state-value x.json: the value is null`},
		{`"x.json":42`, `warning state-value x.json: the file holds only a number`},
		{`"x.json":"fine"`, ``},
		{`"x.json":"` + idA + `"`, ``},
		{`"_config/app/run.json":{}`, `error run-place _config/app/run.json: `},
		{`"app/x":"` + idA + `"`, `warning run-missing app: `},
		{`"bsp/run.json":{"linux":"k"},"bsp/k":"` + idA + `"`, ``},
		{`"app/services.json":[]`, `error services app/services.json: the directory has no run.json`},
		{header(`{"alg":"RS256",` + pvs + `}`), ``},
		{header(`{"alg":"ES256",` + pvs + `}`), `error sig-alg _sigs/app.json: "alg" is "ES256"; devices verify only RS256`},
		{header(`{"alg":"RS256","crit":["pvs"],` + pvs + `}`), `error sig-header _sigs/app.json: the header holds "pvs" as a value before`},
		{header(`{"alg":"RS256",` + strings.Replace(pvs, `"PVS"`, `"JOSE"`, 1) + `}`), `error sig-header _sigs/app.json: "typ" is "JOSE"`},
		{header(`{"alg":"RS256",` + strings.Replace(pvs, `,"exclude":[]`, ``, 1) + `}`), `error sig-header _sigs/app.json: the header needs "pvs" with`},
		{header(`{"alg":"RS256",` + strings.Replace(pvs, `AAAA`, `!`, 1) + `}`), `error sig-header _sigs/app.json: "x5c[0]" is not base64`},
		{header(`{"alg":"RS256",` + strings.Replace(pvs, `,"x5c":["AAAA"]`, ``, 1) + `}`), `note sig-header _sigs/app.json: without "x5c"`},
		{header(`{"alg":"RS256",` + strings.Replace(pvs, `"app.txt"`, `"other/**"`, 1) + `}`), `warning sig-empty _sigs/app.json: `},
		{header(`{"alg":"RS256",` + strings.Replace(pvs, `"app.txt"`, `"app.txt","**"`, 1) + `}`), `error sig-pattern _sigs/app.json: "pvs.include[1]" is "**"`},
		{header(`{"alg":"RS256",` + strings.Replace(pvs, `"app.txt"`, `"app.txt","a/**/b"`, 1) + `}`), `error sig-pattern _sigs/app.json: "pvs.include[1]" is "a/**/b"`},
		{header(`{"alg":"RS256",` + strings.Replace(pvs, `[]`, `["{a,b}"]`, 1) + `}`), `error sig-pattern _sigs/app.json: "pvs.exclude[0]" is "{a,b}"`},
		{header(`{`), `error sig-form _sigs/app.json: "protected" holds no JSON header`},
		{`"_sigs/app.json":{}`, `error sig-form _sigs/app.json: not a signature`},
		{`"_sigs/app.json":` + strings.Replace(signed("app/** _config/app/**"), "pvs@2", "pvs@1", 1), `error sig-alg`},
	} {
		got := verifyMembers(t, c.members)
		if c.want == "" && got != "" || !strings.Contains("\n"+got, "\n"+c.want) {
			t.Errorf("%s\ngot  %s\nwant %s", c.members, got, c.want)
		}
	}
}

func TestVerifyServicesJSON(t *testing.T) {
	const good = `{"name":"a","type":"unix","socket":"/s"}`
	for _, c := range []struct{ services, want string }{
		{`[` + good + `]`, ``},
		{`{"#spec":"service-manifest-xconnect@1","services":[` + good + `]}`, ``},
		{`{"services":[` + good + `]}`, `warning services app/services.json: "#spec" is ""`},
		{`{"#spec":"service-manifest-xconnect@1"}`, `error services app/services.json: devices need`},
		{`"a"`, `error services app/services.json: devices need`},
		{`["a"]`, `error services app/services.json: "[0]" is a string`},
		{`[{"name":"a","type":"unix"}]`, `error services app/services.json: "[0].socket" is missing`},
		{`[{"type":"unix","socket":"/s"}]`, `error services app/services.json: "[0].name" is missing`},
		{`[{"name":"a","type":"tcp","socket":"/s"}]`, `warning services app/services.json: "[0].type" is "tcp"`},
		{`[{"name":"type","type":"unix","socket":"/s"}]`, `error value-like-key app/services.json: "[0].name" is "type"`},
		{`[{"type":"dbus","bus":"system-bus","owns":"a.b","role":"x","allow":["y"]}]`, ``},
		{`[{"type":"dbus","owns":"a.b","allow":["y"]}]`, `error services app/services.json: "[0].bus" is missing`},
		{`[{"type":"dbus","bus":"b","owns":"a.b","allow":"y"}]`, `error services app/services.json: "[0].allow" is a string`},
	} {
		got := verifyMembers(t, `"app/run.json":{"#spec":"service-manifest-run@1","name":"app","type":"lxc","runlevel":"data","root-volume":"r"},"app/r":"`+idA+`","app/services.json":`+c.services)
		if c.want == "" && got != "" || !strings.Contains("\n"+got, "\n"+c.want) {
			t.Errorf("%s\ngot  %s\nwant %s", c.services, got, c.want)
		}
	}
}

// TestVerifyConf compares lxc.container.conf with run.json.
func TestVerifyConf(t *testing.T) {
	for _, c := range []struct{ conf, run, want string }{
		{"lxc.rootfs.path = overlayfs:/volumes/app/r:/volumes/app/lxc-overlay/upper\n", `"storage":{"lxc-overlay":{"persistence":"boot"}}`, ``},
		{"# /volumes/app/old\nlxc.mount.entry = /volumes/other/x dst\n", `"volumes":[]`, ``},
		{"\nlxc.mount.entry = /volumes/app/docker--var var none bind\n", `"volumes":[]`, `error conf-volume app/c:2: the volume "docker--var" is neither`},
		{"lxc.net.0.type = veth\n", `"network":{"pool":"internal"}`, `error conf-network app/c:1: `},
		{"lxc.net.0.type = veth\n", `"network":{"mode":"host"}`, ``},
	} {
		s, objects := pvrexport.NewState(), &pvrexport.Memory{}
		put(t, s, objects, "app/c", c.conf)
		put(t, s, objects, "app/r", "hsqs")
		v, err := pvrexport.JSONValue([]byte(`{"#spec":"service-manifest-run@1","name":"app","type":"lxc","config":"c","root-volume":"r",` + c.run + `}`))
		if err == nil {
			err = s.Set("app/run.json", v)
		}
		if err != nil {
			t.Fatal(err)
		}
		got := rules(verify(t, write(t, s, objects, pvrexport.WriteOptions{}), pvrexport.VerifyOptions{}))
		if c.want == "" && got != "" || !strings.Contains("\n"+got, "\n"+c.want) {
			t.Errorf("%s\ngot  %s\nwant %s", c.conf, got, c.want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	s, objects := sample(f)
	f.Add(write(f, s, objects, pvrexport.WriteOptions{Compression: pvrexport.None}))
	for _, members := range []string{`"app/run.json":{"services":{"required":[null]},"storage":[],"config":".."}`, `"app/services.json":[[]]`, `"_sigs/app.json":` + signed("app/** _config/app/**")} {
		f.Add(archiveOf(f, item{name: "json", content: "{" + spec + "," + members + "}"}))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, in []byte) {
		opts := pvrexport.VerifyOptions{TempDir: dir, Limits: pvrexport.Limits{TotalSize: 8 << 20}}
		ds, _, err := pvrexport.Verify(context.Background(), bytes.NewReader(in), opts)
		if err != nil {
			t.Fatal(err)
		}
		// Import refuses nothing that Verify has no error for.
		_, err = pvrexport.Import(context.Background(), bytes.NewReader(in), pvrexport.Discard, opts.Limits)
		if worst, _ := diag.Worst(ds); err != nil && worst != diag.Error {
			t.Fatalf("import: %v\nverify: %s", err, rules(ds))
		}
	})
}
