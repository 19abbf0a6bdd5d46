package logs

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Source is one stream of log data: an io.Writer that never blocks and never
// fails. Close ends an unfinished line.
type Source struct {
	s              *Server
	platform, name string
	level          Level
	limit          int64
	pending        atomic.Int64 // bytes that wait in sinks

	mu       sync.Mutex // guards what follows
	file     *sink      // of the file tree
	single   *sink
	epoch    int64     // of the two
	part     []byte    // a line without its end, for the outputs made of lines
	partAt   time.Time // when it began
	partOf   Level
	mid      bool  // the raw file ends within a line
	skip     bool  // what comes is the rest of a line that was dropped
	lost     int64 // bytes since the last note
	lastNote time.Time
}

// Source makes a source. The platform is a container's name or Pantavisor. The
// name is a path below the platform's folder; one that leads out of it is cut
// to what does not. Everything that Pantavisor writes goes into one file.
func (s *Server) Source(platform, name string, level Level) *Source {
	src := &Source{s: s, platform: cleanPlatform(platform), name: cleanName(name), level: level, limit: sourceLimit}
	if src.platform == Pantavisor {
		src.limit = ownLimit
	}
	return src
}

// unknown is the platform of a sender that nobody could name.
const unknown = "unknown-platform"

// cleanPlatform makes one folder's name.
func cleanPlatform(platform string) string {
	platform = strings.Map(printable, platform)
	if platform == "" || platform == "." || platform == ".." || len(platform) > 255 || strings.Contains(platform, "/") || platform[0] == '.' {
		return unknown
	}
	return platform
}

// cleanName makes a path that stays below its folder, of parts that a file
// system takes and that are not ours.
func cleanName(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+strings.Map(printable, name)), "/")
	parts := strings.Split(name, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, ".") {
			p = "_" + p
		}
		p = p[:min(len(p), 200)]
		if _, _, _, ok := parseArchive(p); ok {
			p += "_" // it would be taken for an older part of another log
		}
		parts[i] = p
	}
	name = strings.Join(parts[:min(len(parts), 8)], "/")
	if name == "" {
		return "unknown"
	}
	return name
}

// printable drops what would break a line, a terminal or a path.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\uFFFD' {
		return -1
	}
	return r
}

// Write takes what the source prints, in any pieces. It always succeeds: what
// finds no room is dropped, as whole lines, and noted in pantavisor.log.
func (src *Source) Write(p []byte) (int, error) {
	src.mu.Lock()
	defer src.mu.Unlock()
	// In pieces, so that no write of any length is more than the bound.
	for rest := p; len(rest) > 0; {
		n := min(len(rest), maxLine)
		if end := bytes.LastIndexByte(rest[:n], '\n'); end >= 0 {
			n = end + 1 // what is dropped is whole lines
		}
		src.write(src.level, rest[:n])
		rest = rest[n:]
	}
	return len(p), nil
}

// Log takes one message of any level. It ends its line.
func (src *Source) Log(level Level, text string) {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.endPart()
	src.write(level, append([]byte(text), '\n'))
}

// Logf is Log with a format.
func (src *Source) Logf(level Level, format string, args ...any) {
	src.Log(level, fmt.Sprintf(format, args...))
}

// Close ends an unfinished line. The source may be written to again.
func (src *Source) Close() error {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.endPart()
	return nil
}

func (src *Source) write(level Level, p []byte) {
	cfg := src.s.cfg.Load()
	if level > cfg.Level || len(p) == 0 {
		return
	}
	if p = src.admit(cfg, p); len(p) == 0 {
		return
	}
	now := src.s.opts.Clock()
	own := src.platform == Pantavisor
	if cfg.Outputs&OutputFileTree != 0 && !own {
		src.raw(cfg, now, p)
	}
	if own || cfg.Outputs&^(OutputFileTree|OutputNull|OutputUpdate) != 0 || level <= Error {
		src.lines(cfg, level, now, p)
	}
}

// admit drops what finds no room, and the rest of a line of which something
// was dropped.
func (src *Source) admit(cfg *Config, p []byte) []byte {
	if src.skip {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			src.drop(len(p))
			return nil
		}
		src.drop(end + 1)
		src.skip = false
		if p = p[end+1:]; len(p) == 0 {
			return nil
		}
	}
	if src.pending.Load()+int64(len(p)) <= src.limit {
		return p
	}
	src.drop(len(p))
	src.skip = p[len(p)-1] != '\n'
	// The line that was cut ends here.
	src.endPart()
	if src.mid {
		src.raw(cfg, time.Time{}, []byte{'\n'})
	}
	return nil
}

func (src *Source) drop(n int) {
	src.lost += int64(n)
	src.s.rests(src)
}

// raw writes the bytes as they are, with a stamp before each line where one is
// wanted.
func (src *Source) raw(cfg *Config, now time.Time, p []byte) {
	src.refresh()
	src.s.append(src.file, src, func(b []byte) []byte {
		if cfg.FileTreeTime == "" {
			return append(b, p...)
		}
		for l := range bytes.Lines(p) {
			// The "\r\n" that a terminal sends by itself goes on with its line.
			if !src.mid && !bytes.Equal(l, []byte("\r\n")) {
				b = appendStamp(b, now, cfg.FileTreeTime)
			}
			b = append(b, l...)
			src.mid = l[len(l)-1] != '\n'
		}
		return b
	})
	src.mid = p[len(p)-1] != '\n'
}

// lines cuts the bytes into lines and writes each to the outputs made of them.
func (src *Source) lines(cfg *Config, level Level, now time.Time, p []byte) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 || len(src.part)+end > maxLine {
			n := min(len(p), maxLine-len(src.part))
			if len(src.part) == 0 {
				src.partAt, src.partOf = now, level
				src.s.rests(src)
			}
			src.part = append(src.part, p[:n]...)
			if p = p[n:]; len(src.part) == maxLine {
				src.endPart()
			}
			continue
		}
		text := p[:end]
		if len(src.part) > 0 {
			src.part = append(src.part, text...)
			text = src.part
		}
		src.line(cfg, level, now, text)
		src.part = src.part[:0]
		p = p[end+1:]
	}
}

// endPart writes the unfinished line as one.
func (src *Source) endPart() {
	if len(src.part) > 0 {
		src.line(src.s.cfg.Load(), src.partOf, src.partAt, src.part)
		src.part = src.part[:0]
	}
}

// line writes one line. An empty one is left out, as upstream does.
func (src *Source) line(cfg *Config, level Level, now time.Time, text []byte) {
	if text = bytes.TrimRight(text, "\r"); len(text) == 0 {
		return
	}
	own := src.platform == Pantavisor
	l := line{platform: src.platform, source: src.name, level: level, at: now, text: text}
	if l.secs = int64(src.s.opts.Uptime() / time.Second); cfg.Absolute {
		l.secs = now.Unix()
	}
	src.refresh()
	if own && cfg.Outputs&OutputFileTree != 0 {
		src.s.append(src.file, src, func(b []byte) []byte { return appendPV(b, l, cfg.FileTreeTime) })
	}
	if cfg.Outputs&OutputSingleFile != 0 {
		src.s.append(src.single, src, func(b []byte) []byte { return appendJSON(b, l, cfg.SingleFileTime) })
	}
	if src.toStdout(cfg.Outputs) {
		src.s.append(src.s.stdoutSink, src, func(b []byte) []byte { return appendPV(b, l, cfg.StdoutTime) })
	}
	if level <= Error {
		if k := src.s.updating(); k != nil {
			src.s.append(k, src, func(b []byte) []byte { return appendJSON(b, l, cfg.SingleFileTime) })
		}
	}
}

func (src *Source) toStdout(o Outputs) bool {
	own := src.platform == Pantavisor
	return o&OutputStdout != 0 ||
		own && o&(OutputStdoutPantavisor|OutputStdoutDirect) != 0 ||
		!own && (o&OutputStdoutContainers != 0 || o&OutputStdoutDirect != 0 && (src.name == Console || src.name == LXC))
}

// refresh finds the files of the running revision.
func (src *Source) refresh() {
	if src.file != nil && src.epoch == src.s.epoch.Load() {
		return
	}
	name := src.platform + "/" + src.name
	if src.platform == Pantavisor {
		name = Pantavisor + "/pantavisor.log"
	}
	src.file, src.epoch = src.s.sink(name)
	src.single, _ = src.s.sink("pv.log")
}

// settle ends a line that has waited long enough, and returns how many bytes
// were dropped since the last note, at most once a second. rest says that
// there is something to settle later.
func (src *Source) settle(all bool) (lost int64, rest bool) {
	src.mu.Lock()
	defer src.mu.Unlock()
	now := src.s.opts.Clock()
	if all || now.Sub(src.partAt) >= tick {
		src.endPart()
	}
	if src.lost > 0 && (all || now.Sub(src.lastNote) >= time.Second) {
		lost, src.lost, src.lastNote = src.lost, 0, now
	}
	return lost, src.lost > 0 || len(src.part) > 0
}
