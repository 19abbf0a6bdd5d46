// Package testreq says what a test needs beyond Go: root, a tool, a kernel
// feature, a checkout. A test whose need is not met is skipped visibly: the
// skip and its reason reach the summary that internal/testrun prints. The
// environment variable PVKIT_REQUIRE lists needs that must be met
// ("root,unsquashfs", or "all"): then the skip is a failure. CI sets "all".
package testreq

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Root needs an effective uid of 0.
func Root(t testing.TB) {
	t.Helper()
	need(t, "root", os.Geteuid() == 0, "not root")
}

// Tool needs a program on PATH and returns where it is. In the name of the
// need it is the program's own name.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	need(t, name, err == nil, "no "+name+" on PATH")
	return path
}

// Env needs an environment variable that names something outside the project,
// such as a checkout of a peer, and returns its value. "all" does not cover
// it: no Debian package provides it. Only its own name in PVKIT_REQUIRE does.
func Env(t testing.TB, name, what string) string {
	t.Helper()
	v := os.Getenv(name)
	if v != "" {
		return v
	}
	if slices.Contains(required(), name) {
		t.Fatalf("testreq: %s is required and not set: %s", name, what)
	}
	t.Skipf("testreq: optional %s is not set: %s", name, what)
	return ""
}

// Feature needs a property of the machine that the caller has measured.
func Feature(t testing.TB, name string, ok bool, why string) {
	t.Helper()
	need(t, name, ok, why)
}

func need(t testing.TB, name string, ok bool, why string) {
	t.Helper()
	if ok {
		return
	}
	if r := required(); slices.Contains(r, name) || slices.Contains(r, "all") {
		t.Fatalf("testreq: %s is required: %s", name, why)
	}
	t.Skipf("testreq: needs %s: %s", name, why)
}

func required() []string {
	return strings.FieldsFunc(os.Getenv("PVKIT_REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' })
}
