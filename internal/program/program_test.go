package program_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/program"
)

func TestForward(t *testing.T) {
	for name, tt := range map[string]struct {
		environ  []string
		args     []string
		code     int
		done     bool
		out, err string
	}{
		"not set":        {nil, []string{"a"}, 0, false, "", ""},
		"blank":          {[]string{"PVTEST_EXEC= "}, nil, 0, false, "", ""},
		"words":          {[]string{"PVTEST_EXEC=echo  on device"}, []string{"ls", "a b"}, 0, true, "on device pvx ls a b\n", ""},
		"not inherited":  {[]string{"PVTEST_EXEC=env printenv", "A=b"}, nil, 1, true, "", ""},
		"its exit code":  {[]string{"PVTEST_EXEC=sh -c false"}, nil, 1, true, "", ""},
		"a signal":       {[]string{"PVTEST_EXEC=sh -c kill${IFS}-9${IFS}$$"}, nil, 137, true, "", ""},
		"no such":        {[]string{"PVTEST_EXEC=/no/such/program"}, nil, 127, true, "", "x: run /no/such/program: "},
		"not executable": {[]string{"PVTEST_EXEC=/dev/null"}, nil, 126, true, "", "x: run /dev/null: "},
	} {
		var out, errs bytes.Buffer
		env := program.Env{Name: "x", Args: tt.args, Environ: append(tt.environ, "PATH=/usr/bin:/bin"), Stdout: &out, Stderr: &errs}
		code, done := program.Forward(t.Context(), env, "pvx")
		if code != tt.code || done != tt.done || out.String() != tt.out || !strings.HasPrefix(errs.String(), tt.err) {
			t.Errorf("%s: %d %t %q %q", name, code, done, out.String(), errs.String())
		}
	}
	var out bytes.Buffer
	env := program.Env{Args: []string{"A"}, Environ: []string{"PVTEST_EXEC=printenv", "A=1", "A=b", "pvx=y"}, Stdout: &out, Stderr: &out}
	if code, _ := program.Forward(t.Context(), env, "pvx"); code != 0 || out.String() != "y\nb\n" {
		t.Errorf("the environment: %d %q", code, out.String())
	}
	if env.Getenv("A") != "b" || env.Getenv("C") != "" {
		t.Error("Getenv")
	}
}
