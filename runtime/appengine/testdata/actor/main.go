// Actor is the program in the containers of the engine's tests. Its arguments
// are what it does, one after the other.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 1 {
		os.Args = append(os.Args, "wait")
	}
	for _, word := range os.Args[1:] {
		name, arg, _ := strings.Cut(word, "=")
		do(name, arg)
	}
}

func do(name, arg string) {
	switch name {
	case "say":
		fmt.Println(arg)
	case "sleep":
		d, err := time.ParseDuration(arg)
		check(err)
		time.Sleep(d)
	case "exit":
		n, err := strconv.Atoi(arg)
		check(err)
		os.Exit(n)
	case "wait": // for a signal that ends it
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGTERM, syscall.SIGINT, syscall.SIGPWR)
		hear()
		fmt.Println("ended by", <-ch)
	case "deaf": // for ever
		fmt.Println("deaf")
		for {
			time.Sleep(time.Hour)
		}
	case "stubborn": // no signal ends it
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGPWR, syscall.SIGHUP)
		for {
			time.Sleep(time.Hour)
		}
	case "request": // METHOD:PATH:BODY to pv-ctrl; prints the status line and the body
		part := strings.SplitN(arg, ":", 3)
		request(part[0], part[1], part[2])
	case "count": // runs so far, kept in the file
		b, _ := os.ReadFile(arg)
		n, _ := strconv.Atoi(string(b))
		check(os.WriteFile(arg, []byte(strconv.Itoa(n+1)), 0o644))
		fmt.Println("run", n+1)
	case "write": // FILE:LINE
		name, line, _ := strings.Cut(arg, ":")
		check(os.WriteFile(name, []byte(line+"\n"), 0o644))
	case "fork": // as many children as there may be
		for {
			if exec.Command("/proc/self/exe", "stubborn").Start() != nil {
				fmt.Println("no more")
				time.Sleep(10 * time.Millisecond)
			}
		}
	case "flood": // the console
		line := strings.Repeat("x", 1000) + "\n"
		for {
			io.WriteString(os.Stdout, line)
		}
	case "ls":
		entries, err := os.ReadDir(arg)
		check(err)
		for _, e := range entries {
			fmt.Println("entry", e.Name())
		}
	case "listen": // on a TCP address, and tells callers where they come from
		l, err := net.Listen("tcp4", arg)
		check(err)
		go func() {
			for {
				c, err := l.Accept()
				check(err)
				fmt.Fprintln(c, "you are", c.RemoteAddr().(*net.TCPAddr).IP)
				c.Close()
			}
		}()
	case "serve": // a unix socket, and tells callers since when, in nanoseconds
		os.Remove(arg)
		since := time.Now().UnixNano()
		l, err := net.Listen("unix", arg)
		check(err)
		go func() {
			for {
				c, err := l.Accept()
				check(err)
				fmt.Fprintf(c, "%d\n", since)
				c.Close()
			}
		}()
	case "dial": // NAME:PORT until somebody answers; prints what
		name, port, _ := strings.Cut(arg, ":")
		for {
			c, err := net.Dial("tcp4", net.JoinHostPort(address(name), port))
			if err != nil {
				time.Sleep(20 * time.Millisecond)
				continue
			}
			b, err := io.ReadAll(c)
			check(err)
			fmt.Printf("%s says %s", arg, b)
			return
		}
	default:
		fmt.Println("unknown word", name)
		os.Exit(64)
	}
}

// address looks a name up in /etc/hosts. Go's own resolver keeps what it read
// for five seconds, and asks name servers that are not there.
func address(name string) string {
	b, err := os.ReadFile("/etc/hosts")
	check(err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && slices.Contains(f[1:], name) {
			return f[0]
		}
	}
	return "0.0.0.0" // nobody listens there
}

func request(method, path, body string) {
	c, err := net.Dial("unix", "/pantavisor/pv-ctrl")
	check(err)
	defer c.Close()
	fmt.Fprintf(c, "%s %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
	b, err := io.ReadAll(c)
	check(err)
	head, rest, _ := strings.Cut(string(b), "\r\n\r\n")
	status, _, _ := strings.Cut(head, "\r\n")
	fmt.Printf("%s %s: %s %s\n", method, path, status, rest)
}

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}
