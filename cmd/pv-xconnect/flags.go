package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"path"
	"time"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

const usage = `usage: pv-xconnect [options]

Asks pv-ctrl who is linked to whom and makes the links: sockets and device nodes
in containers that lead to others.

Options:
  --socket PATH         pv-ctrl's unix socket (default ` + pvctrl.DefaultSocket + `)
  --interval TIME       between two fetches of the graph (default 5s)
  --drain TIME          that open connections get when the daemon stops (default 5s)
  --max-connections N   at once on a link (default: by the limit of open files)
  --allow-device PATH   provider's device that drm links may pass on besides
                        /dev/dri, such as /dev/fb0 or '/dev/video*'; may be repeated
  --status PATH         serve /status (JSON) and /metrics (Prometheus) on this unix
                        socket, which only its owner may use
  --log-format FORMAT   text (default) or json, on standard output
  --log-level LEVEL     debug, info (default), warn or error
  --dry-run             fetch the graph once, print the links, and touch nothing
  --once                make the links, print how each fares, take them away and
                        end; the log goes to standard error
  --version             print the version
  -h                    this text

Signals: HUP fetches the graph at once; TERM and INT end the daemon when open
connections have ended, at most after --drain. With NOTIFY_SOCKET, systemd is told
when the daemon is ready and when it stops.

Exit codes: 0 done, 1 the graph does not arrive or with --once a link is not up,
2 usage.
`

type flags struct {
	socket, status, logFormat string
	interval, drain           time.Duration
	maxConns                  int
	level                     slog.Level
	once, dryRun, version     bool
	devices                   []string
}

func parse(args []string) (flags, error) {
	f := flags{level: slog.LevelInfo}
	fs := flag.NewFlagSet("pv-xconnect", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&f.socket, "socket", pvctrl.DefaultSocket, "")
	fs.DurationVar(&f.interval, "interval", 5*time.Second, "")
	fs.DurationVar(&f.drain, "drain", 5*time.Second, "")
	fs.IntVar(&f.maxConns, "max-connections", 0, "")
	fs.StringVar(&f.status, "status", "", "")
	fs.StringVar(&f.logFormat, "log-format", "text", "")
	fs.TextVar(&f.level, "log-level", slog.LevelInfo, "")
	fs.BoolVar(&f.once, "once", false, "")
	fs.BoolVar(&f.dryRun, "dry-run", false, "")
	fs.BoolVar(&f.version, "version", false, "")
	fs.Func("allow-device", "", func(v string) error {
		_, err := path.Match(v, "")
		f.devices = append(f.devices, v)
		return err
	})
	if err := fs.Parse(args); err != nil {
		return f, err
	}
	switch {
	case fs.NArg() > 0:
		return f, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case f.interval < 10*time.Millisecond:
		return f, fmt.Errorf("--interval %v is shorter than 10ms", f.interval)
	case f.logFormat != "text" && f.logFormat != "json":
		return f, fmt.Errorf("--log-format %s: it is text or json", f.logFormat)
	case f.maxConns < 0 || f.drain < 0:
		return f, errors.New("a limit cannot be negative")
	case f.once && f.dryRun:
		return f, errors.New("--once makes links and --dry-run makes none: only one of them")
	}
	return f, nil
}
