package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pvsFile is a key or certificate of package pvs's tests.
func pvsFile(t *testing.T, name string) string {
	t.Helper()
	p, err := filepath.Abs(filepath.Join("../../pvrexport/pvs/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSignAndVerify(t *testing.T) {
	key, cert, ca := pvsFile(t, "rsa.key"), pvsFile(t, "rsa.pem"), pvsFile(t, "cacerts.pem")
	file := writeExample(t, "app.pvrexport.tgz", "hello\n", exampleRun)
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "signed.tgz")
	pvr := map[string]string{"PVR_SIG_KEY": key, "PVR_X5C_PATH": cert, "PVR_SIG_CACERTS": ca}
	for _, c := range []struct {
		name string
		call call
		code int
		want []string // in standard output
	}{
		{"unsigned is fine in lenient", call{args: []string{"verify", "--cacerts", ca, file}}, 0, []string{": ok: "}},
		{"and not in strict", call{args: []string{"verify", "--cacerts", ca, "--mode", "strict", file}}, 1,
			[]string{"app/run.json: error: no valid signature covers it", "#spec: error: no valid signature", "a device will not take it"}},
		{"audit warns", call{args: []string{"verify", "--cacerts", ca, "--mode", "audit", file}}, 0,
			[]string{"app/run.json: warning: no valid signature covers it", ": ok: "}},
		{"sign", call{args: []string{"sign", "--key", key, "--cert", cert, "-o", out, file}}, 0, []string{out + ": signed app: _sigs/app.json\n"}},
		{"signed", call{args: []string{"verify", "--cacerts", ca, out}}, 0,
			[]string{"_sigs/app.json: valid, RS256 by CN=dev-rsa, covers 5 keys", ": ok: "}},
		{"sign the rest", call{args: []string{"sign", "--raw", "_pvskel", "--include", "#spec", out}, env: pvr}, 0, []string{"signed _pvskel"}},
		{"all signed", call{args: []string{"verify", "--mode", "strict", out}, env: pvr}, 0, []string{"_sigs/_pvskel.json: valid", ": ok: "}},
		{"with the key alone", call{args: []string{"verify", "--pubkey", pvsFile(t, "rsa.pub"), out}}, 1, []string{"leads to no trusted root"}},
		{"disabled", call{args: []string{"verify", "--mode", "disabled", out}, env: pvr}, 0, []string{": ok: "}},
		{"another root", call{args: []string{"verify", "-c", pvsFile(t, "vector-cacerts.pem"), out}}, 1,
			[]string{"_sigs/app.json: error: the certificate of CN=dev-rsa leads to no trusted root"}},
		{"inspect", call{args: []string{"inspect", out}}, 0, []string{"app (signed)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := c.call.run(t)
			if code != c.code {
				t.Errorf("code %d, want %d\n%s%s", code, c.code, stdout, stderr)
			}
			for _, want := range c.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("no %q in\n%s%s", want, stdout, stderr)
				}
			}
		})
	}
}

func TestSignInPlaceAndStreams(t *testing.T) {
	key, cert := pvsFile(t, "rsa.key"), pvsFile(t, "rsa.pem")
	file := writeExample(t, "app.pvrexport.tgz", "hello\n", exampleRun)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	code, stream, stderr := call{args: []string{"sign", "-k", key, "-x", cert, "-o", "-", "-"}, stdin: before}.run(t)
	if code != 0 || stderr != "" {
		t.Fatalf("%d %s", code, stderr)
	}
	code, stdout, stderr := call{args: []string{"sign", "-k", key, "-x", cert, "--json", file}}.run(t)
	if code != 0 {
		t.Fatalf("%d %s", code, stderr)
	}
	after, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(after, []byte(stream)) {
		t.Errorf("%v: the file and the stream differ", err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v %v", st.Mode(), err)
	}
	var report struct {
		File  string
		Parts []struct {
			Part, Key string
			Include   []string
			Signature map[string]string
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || report.File != file || len(report.Parts) != 1 {
		t.Fatalf("%v %s", err, stdout)
	}
	if p := report.Parts[0]; p.Part != "app" || p.Key != "_sigs/app.json" || !slices.Equal(p.Include, []string{"app/**", "_config/app/**"}) || p.Signature["#spec"] != "pvs@2" {
		t.Errorf("%+v", p)
	}
	// Again, and there is nothing to change.
	if code, _, stderr := (call{args: []string{"sign", "-k", key, "-x", cert, file}}).run(t); code != 0 {
		t.Fatal(stderr)
	}
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, after) {
		t.Errorf("%v: signing again changes the file", err)
	}
}

func TestVerifySignatureJSON(t *testing.T) {
	file := writeExample(t, "app.pvrexport.tgz", "hello\n", exampleRun)
	if code, _, stderr := (call{args: []string{"sign", "-k", pvsFile(t, "rsa.key"), "-x", pvsFile(t, "rsa.pem"), "--no-config", file}}).run(t); code != 0 {
		t.Fatal(stderr)
	}
	code, stdout, _ := call{args: []string{"verify", "--json", "-c", pvsFile(t, "cacerts.pem"), "--mode", "strict", file}}.run(t)
	var report struct {
		OK         bool
		Secureboot struct {
			Mode, Text          string
			OK                  bool
			Signatures          []map[string]any
			Excluded, Uncovered []string
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	s := report.Secureboot
	if code != 1 || report.OK || s.OK || s.Mode != "strict" || s.Text != "State not fully covered by signatures" ||
		len(s.Signatures) != 1 || s.Signatures[0]["valid"] != true || s.Signatures[0]["signer"] != "CN=dev-rsa" ||
		!slices.Equal(s.Uncovered, []string{"#spec", "_config/app/etc/app.json"}) {
		t.Errorf("%d %s", code, stdout)
	}
}

func TestSignUsage(t *testing.T) {
	file := writeExample(t, "app.pvrexport.tgz", "hello\n", exampleRun)
	key, cert, ca := pvsFile(t, "rsa.key"), pvsFile(t, "rsa.pem"), pvsFile(t, "cacerts.pem")
	before, _ := os.ReadFile(file)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"sign", file}, 64, "--key is missing"},
		{[]string{"sign", "-k", key, "-o", "x", file, file}, 64, "-o is for one FILE"},
		{[]string{"sign", "-k", key, "-"}, 64, "standard input has no name"},
		{[]string{"sign", "-k", key, "-o", "-", "--json", file}, 64, "both want standard output"},
		{[]string{"sign", "-k", key, "--raw", "x", file}, 64, "--raw needs --include"},
		{[]string{"sign", "-k", key, "--include", "x", file}, 64, "need --raw"},
		{[]string{"sign", "-k", key, "--raw", "x", "--part", "y", file}, 64, "--raw excludes --part"},
		{[]string{"sign", "-k", key, "-x", cert, "--part", "nosuch", file}, 2, `sign part "nosuch": there is nothing to sign`},
		{[]string{"sign", "-k", key, "-x", ca, file}, 2, "the first certificate (CN=Test PVS CA) is not that of the key"},
		{[]string{"sign", "-k", cert, file}, 2, "rsa.pem: there is no private key in PEM form"},
		{[]string{"sign", "-k", key, "-x", key, file}, 2, "rsa.key: there is no certificate in PEM form"},
		{[]string{"sign", "-k", key, "-x", cert, "no-such-file"}, 2, "no such file"},
		{[]string{"verify", "--mode", "loose", "-c", ca, file}, 64, `secureboot mode "loose": want disabled, audit, lenient or strict`},
		{[]string{"verify", "--mode", "strict", file}, 64, "whom to trust: give --cacerts or --pubkey"},
		{[]string{"verify", "--oem-name", "acme", "-c", ca, file}, 64, "need each other"},
		{[]string{"verify", "-c", key, file}, 2, "rsa.key: there is no certificate"},
		{[]string{"build", "--sign-cert", cert}, 64, "need --sign-key"},
	} {
		code, stdout, stderr := call{args: c.args}.run(t)
		if code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%q: %d %s%s, want %d %s", c.args, code, stdout, stderr, c.code, c.says)
		}
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("%v: a refused command changed the file", err)
	}
	code, _, stderr := call{args: []string{"sign", "-k", pvsFile(t, "ec256.key"), "-x", pvsFile(t, "ec256.pem"), file}}.run(t)
	if code != 0 || !strings.Contains(stderr, "devices cannot check ES256, use an RSA key") {
		t.Errorf("%d %s", code, stderr)
	}
}

// A build that signs makes the bundle that building and signing makes.
func TestBuildSigned(t *testing.T) {
	key, cert, ca := pvsFile(t, "rsa.key"), pvsFile(t, "rsa.pem"), pvsFile(t, "cacerts.pem")
	folder(t, map[string]string{"container.yaml": "name: web\ngroup: app\nentrypoint: [/a]\narchitectures: [amd64]\nrootfs:\n  - file: /a\n    content: x\n", "rootfs/a": "x"})
	env := map[string]string{"SOURCE_DATE_EPOCH": "86400"}
	do := func(args ...string) {
		t.Helper()
		if code, stdout, stderr := (call{args: args, env: env}).run(t); code != 0 {
			t.Fatalf("%q: %d\n%s%s", args, code, stdout, stderr)
		}
	}
	same := func(a, b string) {
		t.Helper()
		x, err := os.ReadFile(a)
		y, err2 := os.ReadFile(b)
		if err != nil || err2 != nil || !bytes.Equal(x, y) {
			t.Errorf("%s and %s differ: %v %v", a, b, err, err2)
		}
	}
	do("build", "-o", "a", "--sign-key", key, "--sign-cert", cert)
	do("build", "-o", "b")
	do("sign", "-k", key, "-x", cert, "b/web-amd64.pvrexport.tgz")
	same("a/web-amd64.pvrexport.tgz", "b/web-amd64.pvrexport.tgz")
	do("verify", "-c", ca, "a/web-amd64.pvrexport.tgz")
	do("add", "--from", "rootfs", "--name", "app", "-o", "x.tgz", "--sign-key", key, "--sign-cert", cert, "--sign-no-config")
	do("add", "--from", "rootfs", "--name", "app", "-o", "y.tgz")
	do("sign", "-k", key, "-x", cert, "--no-config", "y.tgz")
	same("x.tgz", "y.tgz")
}
