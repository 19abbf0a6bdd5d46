package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/nsinject"
	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// process is what main gathers.
type process struct {
	args    []string
	out     io.Writer
	errs    io.Writer
	notify  string // $NOTIFY_SOCKET
	refetch <-chan struct{}
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func run(ctx context.Context, p process) int {
	f, err := parse(p.args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(p.out, usage)
		return exitOK
	case err != nil:
		fmt.Fprintf(p.errs, "pv-xconnect: %v\nRun 'pv-xconnect -h' for usage.\n", err)
		return exitUsage
	case f.version:
		fmt.Fprintln(p.out, "pv-xconnect", program.Version())
		return exitOK
	}
	logs := p.out
	if f.once {
		logs = p.errs
	}
	var h slog.Handler = slog.NewTextHandler(logs, &slog.HandlerOptions{Level: f.level})
	if f.logFormat == "json" {
		h = slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: f.level})
	}
	if err := daemon(ctx, p, f, slog.New(h)); err != nil {
		fmt.Fprintln(p.errs, "pv-xconnect:", err)
		return exitFailed
	}
	return exitOK
}

func daemon(ctx context.Context, p process, f flags, log *slog.Logger) error {
	client := pvctrl.NewClient(f.socket)
	if f.dryRun {
		return dryRun(ctx, client, plugins(f.devices, nil), p.out)
	}
	injector := nsinject.New(nsinject.Options{})
	conns := f.maxConns
	if conns == 0 {
		conns = connsFor(openFiles())
	}
	loops, err := relay.NewLoops(relay.DefaultLoops())
	if err != nil {
		return err
	}
	defer loops.Close()
	mesh := xconnect.NewMesh(xconnect.Config{
		Plugins: plugins(f.devices, loops), Injector: injector, Log: log, Drain: f.drain, MaxConns: conns,
	})
	if f.once {
		return once(ctx, client, mesh, p.out)
	}
	log.Info("pv-xconnect starting...", "socket", f.socket, "interval", f.interval, "max_connections", conns)
	if f.status != "" {
		stop, err := serveStatus(ctx, injector, f.status, mesh)
		if err != nil {
			return err
		}
		defer stop()
	}
	if err := notify(p.notify, "READY=1"); err != nil {
		log.Warn("The service manager was not told", "err", err)
	}
	defer context.AfterFunc(ctx, func() { notify(p.notify, "STOPPING=1") })()
	memCtx, enough := context.WithCancel(ctx)
	var memory sync.WaitGroup
	memory.Go(func() { giveBack(memCtx, 10*time.Second) })
	mesh.Run(ctx, client, f.interval, p.refetch)
	enough()
	memory.Wait()
	log.Info("Caught an interrupt signal; terminating cleanly.")
	return nil
}

// wantFiles is enough for ten thousand links and their connections.
const wantFiles = 1 << 16

// openFiles is the process's limit of open files, raised if it may be.
func openFiles() uint64 {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	more := unix.Rlimit{Cur: wantFiles, Max: max(wantFiles, r.Max)}
	if r.Cur < wantFiles && unix.Setrlimit(unix.RLIMIT_NOFILE, &more) == nil {
		return wantFiles
	}
	return r.Cur
}

// connsFor shares open files out: a connection needs two, and one link may take
// a quarter of what the graph, the listeners and the others leave.
func connsFor(files uint64) int {
	const own, most = 64, 16384
	if files <= 2*own {
		return 8
	}
	return int(min((files-own)/8, most))
}

func dryRun(ctx context.Context, client *pvctrl.Client, all []xconnect.Plugin, w io.Writer) error {
	r, err := client.Graph(ctx, "", 0)
	if err != nil {
		return err
	}
	served := map[string]bool{}
	for _, p := range all {
		served[p.Type()] = true
	}
	for _, g := range r.Graph.Links {
		l := xconnect.Resolve(g)
		note := ""
		switch {
		case !served[l.Type]:
			note = "  refused: no plugin for this type"
		case !l.Consumer.Known():
			note = "  waits: " + l.Consumer.Name + " is not running"
		case !l.Provider.Known():
			note = "  waits: " + l.Provider.Name + " is not running"
		}
		fmt.Fprintf(w, "%s  %s (pid %d) %s  ->  %s (pid %d) %s  role %s%s\n", l.Type,
			l.Consumer.Name, l.Consumer.PID, l.Target, l.Provider.Name, l.Provider.PID, l.Socket, l.Role, note)
	}
	for _, text := range r.Graph.Problems {
		fmt.Fprintln(w, "ignored ", text)
	}
	return nil
}

func once(ctx context.Context, client *pvctrl.Client, mesh *xconnect.Mesh, w io.Writer) error {
	defer mesh.Stop()
	r, err := client.Graph(ctx, "", 0)
	if err != nil {
		return err
	}
	var links []xconnect.Link
	for _, g := range r.Graph.Links {
		links = append(links, xconnect.Resolve(g))
	}
	mesh.Apply(links)
	if err := mesh.Settle(ctx); err != nil {
		return err
	}
	down := 0
	for _, s := range mesh.Status() {
		fmt.Fprintf(w, "%s/%s %s %s %s\n", s.Consumer, s.Name, s.Target, s.State, s.Reason)
		if s.State != xconnect.Up {
			down++
		}
	}
	if down > 0 {
		return fmt.Errorf("%d links are not up", down)
	}
	return nil
}

// serveStatus listens for the page's readers; root alone may read it.
func serveStatus(ctx context.Context, in *nsinject.Injector, at string, mesh *xconnect.Mesh) (stop func(), err error) {
	host, err := in.Enter(ctx, xconnect.Peer{Name: pvctrl.HostName})
	if err != nil {
		return nil, err
	}
	l, err := host.Listen(ctx, "unix", at, 0o600)
	if err != nil {
		host.Close()
		return nil, err
	}
	srv := &http.Server{Handler: xconnect.Page(mesh), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	done := make(chan struct{})
	go func() { srv.Serve(l); close(done) }()
	return func() { srv.Close(); <-done; host.Close() }, nil
}

// notify tells the service manager: sd_notify(3).
func notify(socket, state string) error {
	if socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"}) // "@" is an abstract name
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}
