package logs

import (
	"fmt"
	"log/slog"
	"strings"
)

// Level is how severe a message is; a smaller number is more severe.
type Level int

// The levels of PV_LOG_LEVEL.
const (
	Fatal Level = iota
	Error
	Warn
	Info
	Debug
	Trace
)

var levelNames = [...]string{"FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"}

// String is the word in a log line.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levelNames) {
		return "UNDEFINED"
	}
	return levelNames[l]
}

// ParseLevel reads a word in any case.
func ParseLevel(word string) (Level, error) {
	for i, name := range levelNames {
		if strings.EqualFold(word, name) {
			return Level(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not a log level", clip(word, 20))
}

// Levels of slog beyond its own four.
const (
	SlogTrace = slog.LevelDebug - 4
	SlogFatal = slog.LevelError + 4
)

func levelOf(l slog.Level) Level {
	switch {
	case l < slog.LevelDebug:
		return Trace
	case l < slog.LevelInfo:
		return Debug
	case l < slog.LevelWarn:
		return Info
	case l < slog.LevelError:
		return Warn
	case l < SlogFatal:
		return Error
	}
	return Fatal
}

// clip keeps a message short.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
