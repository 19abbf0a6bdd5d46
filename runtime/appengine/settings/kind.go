package settings

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// kind is how a setting's text is read and shown.
type kind int

const (
	kindText kind = iota
	kindBool
	kindInt
	kindDuration // in seconds
	kindOutputs
	kindBootloader
	kindInitMode
	kindPowerMode
	kindSecureboot
	kindTimer
	kindWatchdog
)

// words are the values of the kinds that are enumerations, by number.
var words = map[kind][]string{
	kindBootloader: {"uboot", "uboot-pvk", "grub", "rpiab", "uboot-ab"},
	kindInitMode:   {"embedded", "standalone", "appengine"},
	kindPowerMode:  {"disabled", "locks", "managed"},
	kindSecureboot: {"disabled", "audit", "lenient", "strict"},
	kindTimer:      {"relative", "absolute"},
	kindWatchdog:   {"disabled", "shutdown", "startup", "always"},
}

// Outputs is the set of places that the log server writes to.
type Outputs int

// The outputs. OutputUpdate is always on.
const (
	OutputNull Outputs = 1 << iota
	OutputSingleFile
	OutputFileTree
	OutputStdout
	OutputStdoutContainers
	OutputStdoutPantavisor
	OutputStdoutDirect
	OutputUpdate
)

// outputNames are what PV_LOG_SERVER_OUTPUTS is written with. The program
// wants dots where its manual has underscores; both are read.
var outputNames = map[string]Outputs{
	"nullsink": OutputNull, "singlefile": OutputSingleFile, "filetree": OutputFileTree,
	"stdout": OutputStdout, "stdout_direct": OutputStdoutDirect,
	"stdout.containers": OutputStdoutContainers, "stdout_containers": OutputStdoutContainers,
	"stdout.pantavisor": OutputStdoutPantavisor, "stdout_pantavisor": OutputStdoutPantavisor,
}

// parse reads the text of every kind but text itself.
func (k kind) parse(text string) (int, error) {
	switch k {
	case kindBool:
		return parseBool(text)
	case kindInt:
		return parseInt(text)
	case kindDuration:
		return parseDuration(text)
	case kindOutputs:
		return parseOutputs(text)
	}
	if n := slices.Index(words[k], text); n >= 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%q is none of %s", text, strings.Join(words[k], ", "))
}

// parseInt reads a decimal number as strtol(3) does, which takes an empty text
// for 0.
func parseInt(text string) (int, error) {
	text = strings.TrimLeft(text, " \t\n\v\f\r")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of 32 bits", text)
	}
	return int(n), nil
}

func parseBool(text string) (int, error) {
	switch strings.ToLower(text) {
	case "true", "yes", "on":
		return 1, nil
	case "false", "no", "off":
		return 0, nil
	}
	n, err := parseInt(text)
	if err != nil {
		return 0, fmt.Errorf("%q is neither true nor false", text)
	}
	return min(1, max(n, -n)), nil
}

// parseDuration reads seconds, or a number with one unit.
func parseDuration(text string) (int, error) {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	scale, ok := map[string]int{"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400}[text[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 32)
	if !ok || err != nil || n <= 0 || n*int64(scale) > 1<<31-1 {
		return 0, fmt.Errorf("%q is not a duration such as 90, 30s, 10min, 1h or 1d", text)
	}
	return int(n) * scale, nil
}

func parseOutputs(text string) (int, error) {
	set := OutputUpdate
	for name := range strings.SplitSeq(text, ",") {
		if name == "" {
			continue
		}
		o, ok := outputNames[name]
		if !ok {
			return 0, fmt.Errorf("%q is not an output of the log server", name)
		}
		set |= o
	}
	return int(set), nil
}

// format is the text of GET /config2.
func (k kind) format(v value) string {
	switch names := words[k]; {
	case k == kindText && !v.set:
		return "(null)"
	case k == kindText:
		return v.text
	case names != nil && v.num >= 0 && v.num < len(names):
		return names[v.num]
	}
	return strconv.Itoa(v.num)
}
