// Prog is what runs in the containers of the tests.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Each word is a command with its argument behind a colon.
func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	for _, a := range args {
		name, arg, _ := strings.Cut(a, ":")
		f, ok := commands[name]
		if !ok {
			fmt.Println("prog: unknown", name)
			return 99
		}
		if err := f(arg); err != nil {
			fmt.Println("error:", err)
		}
	}
	return 0
}

var commands = map[string]func(string) error{
	"echo": func(s string) error { fmt.Println(s); return nil },
	"exit": func(s string) error {
		var n int
		fmt.Sscan(s, &n)
		os.Exit(n)
		return nil
	},
	"cat": func(s string) error {
		data, err := os.ReadFile(s)
		os.Stdout.Write(data)
		return err
	},
	"write": func(s string) error { // PATH=TEXT
		name, text, _ := strings.Cut(s, "=")
		return os.WriteFile(name, []byte(text), 0o644)
	},
	"append": func(s string) error {
		name, text, _ := strings.Cut(s, "=")
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			f.WriteString(text)
			err = f.Close()
		}
		return err
	},
	"ptys": func(s string) error { // how many can be opened
		n, most := 0, 0
		fmt.Sscan(s, &most)
		for range most {
			if _, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err == nil {
				n++
			}
		}
		fmt.Println(n, "terminals")
		return nil
	},
	"mkdir": func(s string) error { return os.Mkdir(s, 0o755) },
	"rm":    os.Remove,
	"link":  func(s string) error { to, at, _ := strings.Cut(s, "="); return os.Symlink(to, at) },
	"ls": func(s string) error {
		entries, err := os.ReadDir(s)
		for _, e := range entries {
			fmt.Println(e.Name())
		}
		return err
	},
	"stat": func(s string) error {
		var st syscall.Stat_t
		err := syscall.Lstat(s, &st)
		if err == nil {
			fmt.Printf("%s %o %d:%d %d:%d\n", s, st.Mode, st.Uid, st.Gid, st.Rdev>>8, st.Rdev&0xff)
		}
		return err
	},
	"readlink": func(s string) error { to, err := os.Readlink(s); fmt.Println(to); return err },
	"grep": func(s string) error { // FILE=TEXT
		name, text, _ := strings.Cut(s, "=")
		data, err := os.ReadFile(name)
		for line := range strings.Lines(string(data)) {
			if strings.Contains(line, text) {
				fmt.Print(line)
			}
		}
		return err
	},
	"env": func(string) error {
		for _, e := range os.Environ() {
			fmt.Println(e)
		}
		return nil
	},
	"id": func(string) error {
		groups, _ := os.Getgroups()
		fmt.Println(os.Getpid(), os.Getuid(), os.Getgid(), groups)
		return nil
	},
	"pwd":      func(string) error { dir, err := os.Getwd(); fmt.Println(dir); return err },
	"hostname": func(string) error { name, err := os.Hostname(); fmt.Println(name); return err },
	"fds": func(string) error {
		entries, err := os.ReadDir("/proc/self/fd")
		for _, e := range entries {
			if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(to, "anon_inode:") {
				fmt.Println(e.Name(), to)
			}
		}
		return err
	},
	"rlimit": func(string) error {
		var l syscall.Rlimit
		err := syscall.Getrlimit(4, &l) // RLIMIT_CORE, which Go does not touch
		fmt.Println(l.Cur, l.Max)
		return err
	},
	"sleep": func(s string) error { d, err := time.ParseDuration(s); time.Sleep(d); return err },
	"on": func(s string) error { // NUMBER: says ready, waits for the signal
		var n int
		fmt.Sscan(s, &n)
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.Signal(n))
		fmt.Println("ready")
		<-ch
		fmt.Println("got", n)
		return nil
	},
	"stubborn": func(string) error {
		signal.Ignore(syscall.SIGPWR, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		fmt.Println("ready")
		for {
			time.Sleep(time.Hour)
		}
	},
	"die": func(string) error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) },
	"spam": func(s string) error { // NUMBER of KiB
		var n int
		fmt.Sscan(s, &n)
		line := strings.Repeat("x", 1023) + "\n"
		for range n {
			os.Stdout.WriteString(line)
		}
		return nil
	},
	"spawn": func(s string) error { // a child that runs one more command
		cmd := exec.Command("/prog", strings.Split(s, ",")...)
		cmd.Stdout = os.Stdout
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		err := cmd.Start()
		if err == nil {
			fmt.Println("child", cmd.Process.Pid)
		}
		return err
	},
	"bomb": func(s string) error { // processes without end, or so many
		most := 1 << 30
		fmt.Sscan(s, &most)
		for n := range most {
			cmd := exec.Command("/prog", "sleep:1h")
			if err := cmd.Start(); err != nil {
				fmt.Println("stopped", n > 0, err)
				time.Sleep(time.Hour)
			}
		}
		fmt.Println("stopped", false)
		time.Sleep(time.Hour)
		return nil
	},
	"unlimit": func(string) error { // lifts the own limit wherever it can be seen
		os.Mkdir("/tmp/pids", 0o755)
		syscall.Mount("cgroup", "/tmp/pids", "cgroup", 0, "pids")
		n := 0
		for _, dir := range []string{"/sys/fs/cgroup", "/tmp/pids"} {
			for _, up := range []string{"", "/..", "/../.."} {
				if os.WriteFile(dir+up+"/pids.max", []byte("max"), 0) == nil {
					n++
				}
			}
		}
		fmt.Println("lifted", n > 0)
		return nil
	},
	"alloc": func(s string) error { // MiB
		n := 0
		fmt.Sscan(s, &n)
		data := make([]byte, n<<20)
		for i := range data {
			data[i] = byte(i)
		}
		return nil
	},
	"exists": func(s string) error {
		_, err := os.Lstat(s)
		fmt.Println(filepath.Base(s), err == nil)
		return nil
	},
	"mknod": func(s string) error { return syscall.Mknod(s, syscall.S_IFCHR|0o600, 1<<8|3) },
	"open": func(s string) error { // for writing
		f, err := os.OpenFile(s, os.O_WRONLY, 0)
		if err == nil {
			fmt.Println("opened", s)
			f.Close()
		}
		return err
	},
	"chroot": func(s string) error { return syscall.Chroot(s) },
	"read": func(string) error {
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Print("read ", line)
		return err
	},
	"size": func(string) error {
		var size [4]uint16
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 1, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
		fmt.Println("size", size[0], size[1])
		if errno != 0 {
			return errno
		}
		return nil
	},
	"tty": func(string) error {
		_, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		fmt.Println("tty", err == nil)
		return nil
	},
}
