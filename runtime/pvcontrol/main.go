package pvcontrol

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/pvcurl"
	"github.com/pvkit/pvkit/runtime/rundir"
)

// The exit codes; doc.go says what they mean.
const (
	exitOK         = 0
	exitFailure    = 1
	exitNoSpace    = 48
	exitChecksum   = 60
	exitUnverified = 70
	exitBusy       = 75
	exitRefused    = 255
)

// sockets are where the API is, in this order: on the host, in an initramfs, and
// in a container.
var sockets = [...]string{"/run/pantavisor/pv/pv-ctrl", "/pv/pv-ctrl", "/pantavisor/pv-ctrl"}

const (
	connectTime = 5 * time.Second
	answerTime  = 240 * time.Second
	uploadTime  = 4 * time.Hour
)

// session is one run of the program.
type session struct {
	env     program.Env
	client  pvcurl.Client
	maxTime time.Duration
	verbose bool
	table   bool
	output  string // -f
	message string // -m
	rest    []string
}

// Main is the program.
func Main(ctx context.Context, env program.Env) int {
	if code, done := program.Forward(ctx, env, "pvcontrol"); done {
		return code
	}
	s := &session{env: env, maxTime: answerTime}
	s.client = pvcurl.Client{Socket: defaultSocket(env.Getenv), ConnectTimeout: connectTime}
	if len(env.Args) > 0 && env.Args[0] == completeCommand {
		return s.complete(ctx, env.Args[1:])
	}
	help, err := s.options(env.Args)
	switch {
	case err != nil:
		return s.usageError(usage(), "%v", err)
	case help || len(s.rest) > 0 && s.rest[0] == "--help":
		fmt.Fprint(env.Stdout, usage())
		return exitOK
	case len(s.rest) == 0:
		return s.usageError(usage(), "no command is given")
	}
	s.curlSettings()
	g := findGroup(s.rest[0])
	if g == nil {
		what := "command"
		if strings.HasPrefix(s.rest[0], "-") {
			what = "option"
		}
		return s.usageError(usage(), "there is no %s %q", what, s.rest[0])
	}
	return s.group(ctx, g, s.rest[1:])
}

// defaultSocket is the socket without -s. The script takes the variable SOCKET
// where the first two are not there; a user's own pv-appengine has its socket in
// the run directory.
func defaultSocket(getenv func(string) string) string {
	for _, path := range sockets[:2] {
		if isSocket(path) {
			return path
		}
	}
	if path := getenv("SOCKET"); path != "" {
		return path
	}
	if path := filepath.Join(rundir.Dir(getenv), "pv-ctrl"); !isSocket(sockets[2]) && isSocket(path) {
		return path
	}
	return sockets[2]
}

func isSocket(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&fs.ModeSocket != 0
}

// options reads what stands before the command.
func (s *session) options(args []string) (help bool, err error) {
	for len(args) > 0 {
		var value *string
		switch args[0] {
		case "-h":
			return true, nil
		case "-v":
			s.verbose = true
		case "--table":
			s.table = true
		case "-s":
			value = &s.client.Socket
		case "-f":
			value = &s.output
		case "-m":
			value = &s.message
		default:
			s.rest = args
			return false, nil
		}
		if value != nil {
			if len(args) < 2 {
				return false, fmt.Errorf("option %s needs a value", args[0])
			}
			*value = args[1]
			args = args[1:]
		}
		args = args[1:]
	}
	return false, nil
}

// group picks the verb of a group of commands and runs it.
func (s *session) group(ctx context.Context, g *group, args []string) int {
	if len(args) > 0 && args[0] == "--help" {
		fmt.Fprint(s.env.Stdout, g.usage())
		return exitOK
	}
	v := g.bare
	if v == nil {
		if len(args) == 0 || args[0] == "" {
			return s.usageError(g.usage(), "%s needs a command", g.names[0])
		}
		if v = g.find(args[0]); v == nil {
			return s.usageError(g.usage(), "%s has no command %q", g.names[0], args[0])
		}
		args = args[1:]
	}
	if n := len(args); v.columns != nil && n > len(v.args) && args[n-1] == "--table" {
		s.table, args = true, args[:n-1]
	}
	for i, a := range v.args {
		if !a.optional && (len(args) <= i || args[i] == "") {
			return s.usageError(g.usage(), "%s needs <%s>", strings.TrimSpace(g.names[0]+" "+v.name), a.name)
		}
	}
	if extra := args[min(len(args), len(v.args)):]; len(extra) > 0 {
		if g.bare != nil && extra[0] != "" {
			return s.usageError(g.usage(), "%s takes no %q", g.names[0], extra[0])
		}
		s.env.Errorf("ignored after %s %s: %q", g.names[0], v.name, extra)
	}
	values := append(slices.Clip(args), make([]string, len(v.args))...)[:len(v.args)]
	if s.table && v.columns == nil {
		return s.usageError(g.usage(), "%s %s has no table", g.names[0], v.name)
	}
	if !v.offline && !isSocket(s.client.Socket) {
		// On standard output, as the script has it.
		fmt.Fprintf(s.env.Stdout, "ERROR: %s not found\n", s.client.Socket)
		s.env.Errorf("there is no socket at %s: is the runtime up? If it has its socket elsewhere, name it with -s", s.client.Socket)
		return exitFailure
	}
	return v.run(ctx, s, v, values)
}

func (s *session) usageError(text, format string, args ...any) int {
	s.env.Errorf(format, args...)
	fmt.Fprint(s.env.Stderr, text)
	return exitFailure
}

// curlSettings takes from CURL_CMD and CURL_ARGS, which name and configure the
// program that the script asks with, what has a meaning here, and says what has
// none.
func (s *session) curlSettings() {
	if cmd := s.env.Getenv("CURL_CMD"); cmd != "" {
		if base := filepath.Base(cmd); base != "pvcurl" && base != "curl" {
			s.env.Errorf("CURL_CMD=%s is not used: this program asks the socket itself", cmd)
		}
	}
	args := strings.Fields(s.env.Getenv("CURL_ARGS"))
	for len(args) > 0 {
		name := args[0]
		args = args[1:]
		switch name {
		case "-v", "--verbose":
			s.verbose = true
			continue
		case "-s", "--silent", "--no-progress-meter":
			continue
		case "-w", "--write-out", "--connect-timeout", "--max-time":
		default:
			s.env.Errorf("CURL_ARGS: %s has no meaning here and is ignored", name)
			continue
		}
		if len(args) == 0 {
			s.env.Errorf("CURL_ARGS: %s has no value and is ignored", name)
			return
		}
		s.limit(name, args[0])
		args = args[1:]
	}
}

func (s *session) limit(name, value string) {
	if name == "-w" || name == "--write-out" {
		return // how the script learns the status
	}
	d, err := time.ParseDuration(value + "s")
	switch {
	case err != nil || d < 0:
		s.env.Errorf("CURL_ARGS: %s %s is not a number of seconds and is ignored", name, value)
	case name == "--max-time":
		s.maxTime = d
	default:
		s.client.ConnectTimeout = d
	}
}
