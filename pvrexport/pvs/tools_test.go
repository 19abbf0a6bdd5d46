package pvs_test

import (
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/pvs"
)

// openssl checks our signatures with the text that is signed put together
// here, and makes the same RSA signature itself.
func TestOpenSSL(t *testing.T) {
	openssl := testreq.Tool(t, "openssl")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(openssl, args...).CombinedOutput()
		if err != nil {
			t.Errorf("openssl %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	s := state(t, "state.json")
	const load = `{"_config/app/etc/x":"73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac","app/list.json":["a",1],` +
		`"app/lxc.container.conf":"8d0d4c8a1e6ab75ae2f81abf1e1e66ce1ab7be53c7b8f245a41907fc45b3a801",` +
		`"app/root.squashfs":"541b3e9daa09b20bf85fa273e5cbd3e80185aa4ec298e765db87742b70138a53","app/run.json":{"#spec":"service-manifest-run@1","n":1,"name":"app"}}`
	for _, name := range []string{"rsa", "ec256", "ec384"} {
		v, err := pvs.Sign(s, "app", key(t, name+".key"), pvs.SignOptions{Chain: certs(t, name+".pem")})
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Protected, Signature string }
		if err := json.Unmarshal(v.JSON(), &doc); err != nil {
			t.Fatal(err)
		}
		sig, err := base64.RawURLEncoding.DecodeString(doc.Signature)
		if err != nil {
			t.Fatal(err)
		}
		text := doc.Protected + "." + base64.RawURLEncoding.EncodeToString([]byte(load))
		digest := "-sha256"
		if name == "ec384" {
			digest = "-sha384"
		}
		if name != "rsa" { // openssl wants ASN.1
			half := len(sig) / 2
			sig, _ = asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:half]), new(big.Int).SetBytes(sig[half:])})
		}
		write(t, at("text"), []byte(text))
		write(t, at("sig"), sig)
		write(t, at("pub"), []byte(run("x509", "-in", filepath.Join("testdata", name+".pem"), "-pubkey", "-noout")))
		if out := run("dgst", digest, "-verify", at("pub"), "-signature", at("sig"), at("text")); !strings.Contains(out, "Verified OK") {
			t.Errorf("%s: %s", name, out)
		}
		if name == "rsa" {
			run("dgst", digest, "-sign", "testdata/rsa.key", "-out", at("theirs"), at("text"))
			if theirs, err := os.ReadFile(at("theirs")); err != nil || !bytes.Equal(theirs, sig) {
				t.Errorf("openssl signs otherwise: %v", err)
			}
		}
		keys, err := pvs.ParsePublicKeys(read(t, at("pub")))
		if err != nil || len(keys) != 1 {
			t.Errorf("openssl's public key: %v", err)
		}
	}
}

func write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pvr checks what we signed, and notices what we changed; we check what it
// signed and updated.
func TestPvr(t *testing.T) {
	pvr := testreq.Env(t, "PVKIT_PVR", "the program pvr, built from github.com/pantacor/pvr")
	home, repo := t.TempDir(), t.TempDir()
	abs := func(name string) string {
		p, err := filepath.Abs(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	run := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, pvr, args...)
		cmd.Dir, cmd.Env = repo, []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "PVR_DISABLE_SELF_UPGRADE=1"}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := run(args...)
		if err != nil {
			t.Fatalf("pvr %v: %v\n%s", args, err, out)
		}
		return out
	}
	must("init")
	for key, v := range state(t, "state.json").All() {
		if key == pvrexport.SpecKey {
			continue
		}
		content := v.JSON()
		if _, object := v.Object(); object {
			content = []byte("content of " + key)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(repo, key)), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(repo, key), content)
	}
	commit := func() *pvrexport.State {
		t.Helper()
		must("add", ".")
		must("commit", "-m", "x")
		return decodeState(t, read(t, filepath.Join(repo, ".pvr", "json")))
	}

	s := commit()
	for _, name := range []string{"rsa", "ec256", "ec384"} {
		v, err := pvs.Sign(s, "app", key(t, name+".key"), pvs.SignOptions{Chain: certs(t, name+".pem")})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(repo, "_sigs"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(repo, "_sigs/app.json"), v.JSON())
		out := must("sig", "--cacerts", abs("cacerts.pem"), "ls", "app")
		var summary struct{ Protected []string }
		if err := json.Unmarshal([]byte(out), &summary); err != nil || len(summary.Protected) != 5 {
			t.Errorf("%s: pvr sig ls: %v\n%s", name, err, out)
		}
	}
	// Where we accept a pattern, pvr chooses the same keys.
	accepted := 0
	for _, pattern := range []string{"*/run.json", "app/*", "app/l?st.*", "**/run.json", "app/**/run.json", "**/app/**", "*/app/**", "a*/**", "_config/*/*/x", "device.json"} {
		sel := pvs.Selection{Include: []string{pattern}, Exclude: []string{"none", "_sigs/.json"}}
		ours, err := pvs.Sign(s, "x", key(t, "rsa.key"), pvs.SignOptions{Select: &sel, Payload: true})
		if err != nil {
			t.Logf("%s: %v", pattern, err)
			continue
		}
		accepted++
		must("sig", "--key", abs("rsa.key"), "--x5c", "no", "--with-payload", "add", "--raw", "x", "--include", pattern, "--exclude", "none")
		if theirs := read(t, filepath.Join(repo, "_sigs/x.json")); string(theirs) != ours.String() {
			t.Errorf("%s: pvr signs\n%s\nand we\n%s", pattern, theirs, ours)
		}
		if err := os.Remove(filepath.Join(repo, "_sigs/x.json")); err != nil {
			t.Fatal(err)
		}
	}
	if accepted < 6 {
		t.Errorf("only %d patterns are accepted", accepted)
	}
	write(t, filepath.Join(repo, "app/run.json"), []byte("{}"))
	changed := commit()
	if out, err := run("sig", "--cacerts", abs("cacerts.pem"), "ls", "app"); err == nil {
		t.Errorf("pvr does not see the change: %s", out)
	}
	if r := verify(t, changed, trust(t)); r.Err() == nil {
		t.Error("we do not see the change")
	}
	for _, name := range []string{"rsa", "ec256", "ec384"} {
		must("sig", "--key", abs(name+".key"), "--x5c", abs(name+".pem"), "update", "_sigs/app.json")
		if r := verify(t, commit(), trust(t)); r.Err() != nil || len(r.Signatures) != 1 {
			t.Errorf("%s, updated by pvr: %v", name, r.Err())
		}
	}
	must("sig", "--key", abs("rsa.key"), "--x5c", abs("rsa.pem"), "update", "_sigs/app.json")
	after := commit()
	theirs, _ := after.Get("_sigs/app.json")
	if ours, err := pvs.Sign(after, "app", key(t, "rsa.key"), pvs.SignOptions{Chain: certs(t, "rsa.pem")}); err != nil || ours != theirs {
		t.Errorf("%v: ours is not theirs:\n%s\n%s", err, ours, theirs)
	}
}
