package pvcurl

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// options is a command line of pvcurl.
type options struct {
	method, data, upload     string
	socket, url, output      string
	headers                  []string
	writeOut                 string
	include, silent, verbose bool
	help                     bool
	connectTimeout, maxTime  time.Duration
}

// usageError is a wrong command line, in the words of the script.
type usageError string

func (e usageError) Error() string { return string(e) }

// parse reads a command line. Options and the URL may stand in any order; of
// several URLs the first counts, of repeated options the last. The options read
// before an error are kept: --silent silences it.
func parse(args []string) (*options, error) {
	o := &options{method: "GET", connectTimeout: 5 * time.Second}
	for len(args) > 0 {
		name := args[0]
		args = args[1:]
		if !strings.HasPrefix(name, "-") {
			if o.url == "" {
				o.url = name
			}
			continue
		}
		if o.flag(name) {
			if o.help {
				return o, nil
			}
			continue
		}
		if !takesValue(name) {
			return o, usageError("Unrecognized option '" + name + "'")
		}
		if len(args) == 0 {
			return o, usageError("Option '" + name + "' needs a value.")
		}
		if err := o.set(name, args[0]); err != nil {
			return o, err
		}
		args = args[1:]
	}
	return o, nil
}

// flag sets an option without a value.
func (o *options) flag(name string) bool {
	switch name {
	case "-s", "--silent":
		o.silent = true
	case "-v", "--verbose":
		o.verbose = true
	case "-i", "--include":
		o.include = true
	case "-h", "--help":
		o.help = true
	case "--no-progress-meter":
	default:
		return false
	}
	return true
}

func takesValue(name string) bool {
	switch name {
	case "-X", "-H", "--header", "--data", "--data-binary", "-T", "--upload-file", "--unix-socket",
		"--connect-timeout", "--max-time", "-o", "--output", "-w", "--write-out":
		return true
	}
	return false
}

// set sets an option with a value.
func (o *options) set(name, value string) (err error) {
	switch name {
	case "-X":
		o.method = value
	case "-H", "--header":
		for line := range strings.SplitSeq(unescape(value), "\n") {
			if line = strings.TrimSuffix(line, "\r"); line != "" {
				o.headers = append(o.headers, line)
			}
		}
	case "--data", "--data-binary":
		o.data = value
	case "-T", "--upload-file":
		o.upload = value
	case "--unix-socket":
		o.socket = value
	case "-o", "--output":
		o.output = value
	case "-w", "--write-out":
		o.writeOut = value
	case "--connect-timeout":
		o.connectTimeout, err = seconds(name, value)
	case "--max-time":
		o.maxTime, err = seconds(name, value)
	}
	return err
}

// seconds reads a number of seconds, also with a fraction. 0 is no limit.
func seconds(name, value string) (time.Duration, error) {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || n < 0 || n > 1e8 || n != n {
		return 0, fmt.Errorf("option %s: %q is not a number of seconds", name, value)
	}
	return time.Duration(n * float64(time.Second)), nil
}

// requestPath takes the scheme and the host, with its port, off a URL.
func requestPath(url string) string {
	if rest, ok := strings.CutPrefix(url, "http://localhost"); ok {
		url = rest
		if port, path, _ := strings.Cut(rest, "/"); len(port) > 1 && port[0] == ':' && strings.Trim(port[1:], "0123456789") == "" {
			url = "/" + path
		}
	}
	url = strings.TrimPrefix(url, "http://")
	if !strings.HasPrefix(url, "/") {
		url = "/" + url
	}
	return url
}

// unescape interprets backslash escapes as printf's %b does (POSIX printf(1)),
// and \xHH as in busybox. \c ends the text; other sequences stay as they are.
func unescape(s string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, `\`)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		if after == "" {
			b.WriteByte('\\')
			return b.String()
		}
		if after[0] == 'c' {
			return b.String()
		}
		c, n := escape(after)
		if n == 0 {
			b.WriteByte('\\')
		} else {
			b.WriteByte(c)
		}
		s = after[n:]
		if n == 0 { // the character after it is an ordinary one
			b.WriteByte(after[0])
			s = after[1:]
		}
	}
}

// escape reads what follows a backslash: the byte and how much was read; 0 for
// what is no escape.
func escape(s string) (c byte, n int) {
	if i := strings.IndexByte(`\abfnrtve`, s[0]); i >= 0 {
		return "\\\a\b\f\n\r\t\v\x1b"[i], 1
	}
	digits, from, most, base := "01234567", 0, 3, 8
	switch {
	case s[0] == '0':
		from = 1 // \0ddd
	case s[0] == 'x':
		digits, from, most, base = "0123456789abcdefABCDEF", 1, 2, 16
	}
	end := from
	for end < len(s) && end-from < most && strings.IndexByte(digits, s[end]) >= 0 {
		end++
	}
	if end == from && s[0] == '0' {
		return 0, 1 // \0 alone is a NUL
	} else if end == from {
		return 0, 0
	}
	v, _ := strconv.ParseUint(s[from:end], base, 16)
	return byte(v), end
}
