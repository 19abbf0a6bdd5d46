package logs

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Logger is a logger that writes pantavisor.log. The module is what the real
// program shows in the second brackets: "state", "platforms", "updater", ….
// Attributes follow the message as key=value.
func (s *Server) Logger(module string) *slog.Logger {
	return slog.New(&handler{src: s.Source(Pantavisor, module, Info)})
}

// Daemon gives the outputs of a daemon of the runtime: lines of pantavisor.log
// under the names <name>-out, INFO, and <name>-err, WARN.
func (s *Server) Daemon(name string) (stdout, stderr io.Writer) {
	return s.Source(Pantavisor, name+"-out", Info), s.Source(Pantavisor, name+"-err", Warn)
}

// handler writes records to a source.
type handler struct {
	src    *Source
	attrs  string // formatted, with a space before each
	prefix string // of the groups
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, l slog.Level) bool {
	return levelOf(l) <= h.src.s.cfg.Load().Level
}

// Handle implements slog.Handler.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool { writeAttr(&b, h.prefix, a); return true })
	h.src.Log(levelOf(r.Level), b.String())
	return nil
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		writeAttr(&b, h.prefix, a)
	}
	return &handler{src: h.src, attrs: b.String(), prefix: h.prefix}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{src: h.src, attrs: h.attrs, prefix: h.prefix + name + "."}
}

func writeAttr(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, g := range v.Group() {
			writeAttr(b, prefix, g)
		}
		return
	}
	text := v.String()
	if v.Kind() == slog.KindTime {
		text = v.Time().Format(time.RFC3339Nano)
	}
	// A value that comes from outside must not look like another line.
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' || !strconv.IsPrint(r) }) {
		text = strconv.Quote(text)
	}
	b.WriteByte(' ')
	b.WriteString(prefix)
	b.WriteString(a.Key)
	b.WriteByte('=')
	b.WriteString(text)
}
