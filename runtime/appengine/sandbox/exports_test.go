package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
)

// What a container exports others mount as /exports/NAME/PATH, as the template
// writes it for PV_FILEIMPORTS. With the container it goes away.
func TestExports(t *testing.T) {
	b := open(t)
	out := &buffer{}
	provider, err := b.Start(t.Context(), sandbox.Spec{
		Name: "provider", Volumes: b.volumes("provider"), Console: out, Exports: []string{"/run", "etc", "/prog", "/run"},
		Config: conf(t, "/prog write:/run/key=secret mkdir:/run/sub link:/etc/passwd=/run/out echo:there stubborn"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close(t.Context())
	for start := time.Now(); !strings.Contains(out.String(), "there"); time.Sleep(time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("the provider does not run: %s", out)
		}
	}
	volumes := b.volumes("consumer")
	volumes["/exports"] = b.ExportDir()
	imports := func(more ...string) sandbox.Spec {
		return sandbox.Spec{Name: "consumer", Volumes: volumes, Config: conf(t, "/prog cat:/etc/key write:/there/more=x ls:/there/sub", more...)}
	}
	got, _ := b.run(imports("lxc.mount.entry = /exports/provider/run/key etc/key none bind,rw,create=file 0 0",
		"lxc.mount.entry = /exports/provider/run there none bind,rw,create=dir 0 0"))
	if got != "secret" {
		t.Errorf("the consumer got %q", got)
	}
	if text, err := os.ReadFile(filepath.Join(b.ExportDir(), "provider", "run", "more")); string(text) != "x" {
		t.Errorf("what the consumer wrote is not in the export: %q %v", text, err)
	}
	// A link in an export leads to nothing outside it.
	if _, err := b.Start(t.Context(), imports("lxc.mount.entry = /exports/provider/run/out etc/key none bind,rw,create=file 0 0")); err == nil || !strings.Contains(err.Error(), "/exports/provider/run/out") {
		t.Errorf("a link out of the export: %v", err)
	}
	if err := provider.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(b.ExportDir()); len(entries) != 0 || err != nil {
		t.Errorf("after the end there is still %v %v", entries, err)
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), b.ExportDir()) {
		t.Errorf("mounts stay:\n%s", mounts)
	}
}

func TestExportMissing(t *testing.T) {
	b := open(t)
	_, err := b.Start(t.Context(), sandbox.Spec{Name: "app", Volumes: b.volumes("app"), Exports: []string{"/etc", "/nothing"}, Config: conf(t, "/prog")})
	if err == nil || !strings.Contains(err.Error(), "export /nothing: open /nothing: no such file or directory") {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(b.ExportDir()); len(entries) != 0 || err != nil {
		t.Errorf("after the failure there is still %v %v", entries, err)
	}
}
