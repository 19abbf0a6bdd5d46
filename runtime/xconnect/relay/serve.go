package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

// Serve accepts consumers on ln and runs handle for each, at most env.MaxConns
// at once: further ones wait in the socket's queue. handle's error is counted
// and logged; the connection is closed for it. When ctx is done, Serve closes
// ln, lets connections finish within env.DrainFor(ctx), ends the context that
// handle was given, and returns nil when all have returned. A shortage of
// descriptors or memory pauses accepting; it does not end it.
func Serve(ctx context.Context, env xconnect.Env, ln net.Listener, handle func(ctx context.Context, c *net.UnixConn) error) error {
	return serve(ctx, env, ln, func(ctx context.Context, c *net.UnixConn, done func(error)) {
		go func() {
			err := handle(ctx, c)
			c.Close()
			done(err)
		}()
	})
}

// serve is Serve for connections that end when they call done. start does not
// wait, and closes the connection.
func serve(ctx context.Context, env xconnect.Env, ln net.Listener, start func(ctx context.Context, c *net.UnixConn, done func(error))) error {
	connCtx, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	defer ln.Close()
	var open sync.WaitGroup
	err := acceptAll(ctx, env, ln, func(c *net.UnixConn, release func()) {
		open.Add(1)
		closed := env.Stats.Open()
		start(connCtx, c, func(err error) {
			if err != nil && connCtx.Err() == nil {
				env.Stats.Fail(err)
				env.Log.Warn("Connection failed", "err", err)
			}
			closed()
			release()
			open.Done()
		})
	})
	all := make(chan struct{})
	go func() { open.Wait(); close(all) }()
	if d := env.DrainFor(ctx); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-all:
		case <-t.C:
		}
	}
	cut(context.Cause(ctx))
	<-all
	return err
}

// acceptAll returns nil when ctx ended it.
func acceptAll(ctx context.Context, env xconnect.Env, ln net.Listener, start func(*net.UnixConn, func())) error {
	slots := make(chan struct{}, max(env.MaxConns, 1))
	pause := time.Duration(0)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case err == nil:
			pause = 0
			start(c.(*net.UnixConn), func() { <-slots })
			continue
		case !shortage(err):
			return fmt.Errorf("accept: %w", err)
		}
		<-slots
		pause = nextPause(pause)
		env.Stats.Fail(err)
		env.Log.Warn("Accepting pauses", "err", err, "for", pause)
		if !xconnect.Sleep(ctx, pause) {
			return nil
		}
	}
}

// nextPause is how long accepting rests after another shortage.
func nextPause(last time.Duration) time.Duration {
	return min(max(2*last, 10*time.Millisecond), time.Second)
}

// shortage reports errors of accept(2) that pass by themselves.
func shortage(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.ECONNABORTED, unix.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
