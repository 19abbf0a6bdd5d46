package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/cli"
	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/runtime/appengine/logs"
)

// logged makes a storage with the logs of two containers and the runtime. The
// server runs until the test ends.
func logged(t *testing.T) (storage string, s *logs.Server) {
	t.Helper()
	storage = t.TempDir()
	at := time.Date(2026, 5, 15, 12, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	s, err := logs.New(filepath.Join(storage, "logs"), logs.DefaultConfig(), logs.Options{Clock: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(time.Second)
		return at
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := s.SetRevision("0"); err != nil {
		t.Fatal(err)
	}
	say := func(f func()) {
		f()
		if err := s.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	say(func() { s.Logger("state").Warn("starting") })
	say(func() {
		_, _ = s.Source("web", logs.Console, logs.Info).Write([]byte("10%\r\x1b]0;evil\x07\x1b[31mready\x1b[0m\x07\r\n"))
	})
	say(func() { s.Source("db", "postgres", logs.Error).Log(logs.Error, "no space") })
	return storage, s
}

func TestLogs(t *testing.T) {
	storage, _ := logged(t)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"", cli.ExitOK, "pantavisor | WARN state: starting\n" +
			"web        | 10%\r\x1b]0;evil\x07\x1b[31mready\x1b[0m\x07\n" +
			"db         | postgres: no space\n"},
		{"db", cli.ExitOK, "db         | postgres: no space\n"},
		{"-n 1 db web", cli.ExitOK, "db         | postgres: no space\n"},
		{"--rev 0 db", cli.ExitOK, "db         | postgres: no space\n"},
		{"--since 1s", cli.ExitOK, ""},
		{"nobody", cli.ExitFailure, "nobody has logged nothing in " + storage + "/logs; there are logs of db, pantavisor, web"},
		{"--since soon", cli.ExitUsage, `--since "soon": write 10m`},
		{"-n -1", cli.ExitUsage, "write a number of lines"},
		{"--rev 7", cli.ExitFailure, "revision 7: there are no logs"},
	} {
		code, out, errs := run(t, append([]string{"logs", "--storage", storage}, strings.Fields(c.args)...)...)
		if code != c.code || c.code == cli.ExitOK && out != c.want || !strings.Contains(out+errs, c.want) {
			t.Errorf("pvkit logs %s: code %d\n%q\n%q\nwant %q", c.args, code, out, errs, c.want)
		}
	}
	up := t.TempDir() // what pvkit up --state is given
	if err := os.Symlink(storage, up+"/storage"); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := run(t, "logs", "--storage", up, "db"); code != cli.ExitOK || out != "db         | postgres: no space\n" {
		t.Errorf("a state directory: %d %s", code, out)
	}
	if code, _, errs := run(t, "logs", "--storage", storage+"/none"); code != cli.ExitFailure || !strings.Contains(errs, "--storage says") {
		t.Errorf("%d %s", code, errs)
	}
	if _, out, _ := run(t, "logs", "--storage", storage+"/logs", "-t", "db"); !strings.HasPrefix(out, "2026-05-15T") {
		t.Errorf("with times, and the log directory itself: %s", out)
	}
}

// TestLogsOfTheUsersAppengine: without --storage it is where pv-appengine puts it.
func TestLogsOfTheUsersAppengine(t *testing.T) {
	if _, err := os.Stat("/etc/pantavisor-appengine.config"); err == nil {
		testreq.Feature(t, "no-appengine", false, "an appengine is installed here")
	}
	storage, _ := logged(t)
	state := t.TempDir()
	if err := os.MkdirAll(filepath.Join(state, "pv-appengine"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(storage, filepath.Join(state, "pv-appengine/storage")); err != nil {
		t.Fatal(err)
	}
	// pvkit up is the newer one in another state.
	both := t.TempDir()
	old, _ := logged(t)
	for name, dir := range map[string]string{"pv-appengine": old, "pvkit/up": storage} {
		if err := os.MkdirAll(filepath.Join(both, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(dir, filepath.Join(both, name, "storage")); err != nil {
			t.Fatal(err)
		}
	}
	past := unix.NsecToTimeval(time.Unix(1e9, 0).UnixNano())
	if err := unix.Lutimes(old+"/logs/current", []unix.Timeval{past, past}); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(old + "/logs/0/db"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env  map[string]string
		code int
		want string
	}{
		{map[string]string{"XDG_STATE_HOME": both}, cli.ExitOK, "no space"},
		{map[string]string{"XDG_STATE_HOME": state}, cli.ExitOK, "no space"},
		{map[string]string{"HOME": state}, cli.ExitFailure, ".local/state/pv-appengine/storage"},
		{nil, cli.ExitUsage, "say --storage"},
	} {
		var out bytes.Buffer
		code := cli.Main(context.Background(), cli.Env{
			Args: []string{"logs", "db"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
			Getenv: func(name string) string { return c.env[name] },
		})
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: %d %s", c.env, code, out.String())
		}
	}
}

// TestLogsOfARunDirectory: the runtime that answers there says where.
func TestLogsOfARunDirectory(t *testing.T) {
	storage, _ := logged(t)
	run1 := t.TempDir()
	if err := os.Mkdir(filepath.Join(run1, "logs"), 0o755); err != nil { // of the containers
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(run1, "pv-ctrl"))
	if err != nil {
		t.Fatal(err)
	}
	answer := fmt.Sprintf(`[{"key":"PV_LOG_DIR","value":%q,"modified":"pv conf file"}]`, storage+"/logs")
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/config2" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	if code, out, errs := run(t, "logs", "--storage", run1, "db"); code != cli.ExitOK || !strings.Contains(out, "no space") {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

func TestLogsJSON(t *testing.T) {
	storage, _ := logged(t)
	_, out, _ := run(t, "logs", "--storage", storage, "--json", "pantavisor")
	var e logs.Entry
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if e.Container != "pantavisor" || e.Source != "state" || e.Level != "WARN" || e.Text != "starting" || e.Revision != "0" || e.Time.IsZero() {
		t.Errorf("%+v", e)
	}
}

func TestLogsCompletion(t *testing.T) {
	storage, _ := logged(t)
	_, out, _ := run(t, "__complete", "logs", "--storage", storage, "web", "")
	if !strings.HasPrefix(out, "db\npantavisor\n:4\n") {
		t.Errorf("%q", out)
	}
}

// watched is an output that a test can wait for.
type watched struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *watched) wait(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		w.mu.Lock()
		got := w.b.String()
		w.mu.Unlock()
		if strings.Contains(got, text) {
			return
		}
	}
	t.Errorf("%q never came", text)
}

func TestLogsFollow(t *testing.T) {
	storage, s := logged(t)
	ctx, cancel := context.WithCancel(context.Background())
	out, errs := &watched{}, &watched{}
	code := make(chan int, 1)
	go func() {
		code <- cli.Main(ctx, cli.Env{
			Args:  []string{"logs", "-f", "--storage", storage, "web", "later"},
			Stdin: strings.NewReader(""), Stdout: out, Stderr: errs, Getenv: func(string) string { return "" },
		})
	}()
	out.wait(t, "ready")
	errs.wait(t, "later has logged nothing so far")
	s.Source("later", "app", logs.Info).Log(logs.Info, "here now")
	out.wait(t, "later      | app: here now\n")
	if err := s.SetRevision("1"); err != nil {
		t.Fatal(err)
	}
	s.Source("web", "app", logs.Info).Log(logs.Info, "in the next revision")
	out.wait(t, "in the next revision\n")
	cancel()
	if got := <-code; got != cli.ExitOK {
		t.Errorf("exit code %d", got)
	}
}

// TestLogsOnATerminal looks at what a terminal gets: colours of ours, and
// nothing of what a container wants to do to it.
func TestLogsOnATerminal(t *testing.T) {
	storage, _ := logged(t)
	for _, c := range []struct{ noColor, want string }{
		{"", "\x1b[34mweb        |\x1b[0m ready\\a\n"},
		{"1", "web        | ready\\a\n"},
	} {
		pt, tty := openTerminal(t)
		code := cli.Main(context.Background(), cli.Env{
			Args: []string{"logs", "--storage", storage, "web"}, Stdin: strings.NewReader(""), Stdout: tty, Stderr: io.Discard,
			Getenv: func(name string) string {
				if name == "NO_COLOR" {
					return c.noColor
				}
				return ""
			},
		})
		if code != cli.ExitOK {
			t.Fatal(code)
		}
		buf := make([]byte, 4096)
		n, err := pt.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(string(buf[:n]), "\r\n", "\n"); got != c.want {
			t.Errorf("NO_COLOR=%q: got %q, want %q", c.noColor, got, c.want)
		}
	}
}

func openTerminal(t *testing.T) (pt, tty *os.File) {
	t.Helper()
	pt, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	testreq.Feature(t, "ptmx", err == nil, fmt.Sprint(err))
	t.Cleanup(func() { pt.Close() })
	var n int
	raw, err := pt.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return pt, tty
}
