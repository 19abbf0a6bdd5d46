package devcgroup_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pvkit/pvkit/internal/devcgroup"
	"github.com/pvkit/pvkit/internal/testreq"
)

const prober = "devcgroup-test-prober"

func TestMain(m *testing.M) {
	if os.Args[0] == prober {
		probe()
		return
	}
	os.Exit(m.Run())
}

// probe answers for each line "c 1:3 rw" whether this process is let do that.
// A device that does not exist has another error than one that is forbidden.
func probe() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var kind, what string
		var major, minor uint32
		fmt.Sscanf(in.Text(), "%1s %d:%d %s", &kind, &major, &minor, &what)
		node := filepath.Join(os.Args[1], fmt.Sprintf("%s-%d-%d", kind, major, minor))
		var err error
		switch what {
		case "m":
			mode := uint32(unix.S_IFCHR)
			if kind == "b" {
				mode = unix.S_IFBLK
			}
			made := filepath.Join(os.Args[1], "made")
			err = unix.Mknod(made, mode|0o600, int(unix.Mkdev(major, minor)))
			unix.Unlink(made)
		default:
			flags := map[string]int{"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR}[what]
			var fd int
			if fd, err = unix.Open(node, flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0); err == nil {
				unix.Close(fd)
			}
		}
		fmt.Println(!errors.Is(err, unix.EPERM))
	}
}

// rig is a process in a group of its own, and nodes for it to try.
type rig struct {
	t     *testing.T
	group *os.File
	in    io.Writer
	out   *bufio.Scanner
}

var probes = func() (all []string) {
	for _, d := range []string{"c 1:3", "c 1:5", "c 226:0", "c 226:3", "b 7:0", "b 1:3"} {
		for _, a := range []string{"r", "w", "rw", "m"} {
			all = append(all, d+" "+a)
		}
	}
	return all
}()

// mounted is where a hierarchy is: a cgroup2, or v1's of a controller.
func mounted(kind, option string) string {
	text, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if f[2] == kind && (option == "" || strings.Contains(","+f[3]+",", ","+option+",")) {
			return f[1]
		}
	}
	return ""
}

func newRig(t *testing.T, top string) *rig {
	t.Helper()
	testreq.Root(t)
	name := filepath.Join(top, fmt.Sprintf("pvkit-devices-%d-%d", os.Getpid(), rand.Uint32()))
	if top == "" || os.Mkdir(name, 0o755) != nil {
		t.Skip("testreq: optional: no cgroup hierarchy to write to")
	}
	t.Cleanup(func() {
		for range 100 { // until the kernel has let go of the process
			if os.Remove(name) == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%s stays behind", name)
	})
	dir := t.TempDir()
	for _, p := range probes {
		var kind string
		var major, minor uint32
		fmt.Sscanf(p, "%1s %d:%d", &kind, &major, &minor)
		mode := map[string]uint32{"c": unix.S_IFCHR, "b": unix.S_IFBLK}[kind]
		err := unix.Mknod(filepath.Join(dir, fmt.Sprintf("%s-%d-%d", kind, major, minor)), mode|0o600, int(unix.Mkdev(major, minor)))
		if err != nil && !errors.Is(err, unix.EEXIST) {
			t.Skipf("testreq: optional: no device nodes can be made here: %v", err)
		}
	}
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{prober, dir}, Stderr: os.Stderr}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	r := &rig{t: t, in: in, out: bufio.NewScanner(out)}
	if r.group, err = os.Open(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.group.Close() })
	r.write("cgroup.procs", fmt.Sprint(cmd.Process.Pid))
	return r
}

func (r *rig) write(file, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.group.Name(), file), []byte(text), 0); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) may(p string) bool {
	r.t.Helper()
	fmt.Fprintln(r.in, p)
	if !r.out.Scan() {
		r.t.Fatalf("the prober has ended: %v", r.out.Err())
	}
	return r.out.Text() == "true"
}

// limit puts rules such as "deny a" into effect.
func (r *rig) limit(allow bool, rules ...string) *devcgroup.Program {
	r.t.Helper()
	p := devcgroup.New(allow)
	for _, rule := range rules {
		verb, line, _ := strings.Cut(rule, " ")
		if err := p.Set(verb == "allow", line); err != nil {
			r.t.Fatal(err)
		}
	}
	prog, err := p.Load()
	if errors.Is(err, devcgroup.ErrUnavailable) {
		r.t.Skipf("testreq: optional: %v", err)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { prog.Close() })
	if err := prog.Attach(r.group); err != nil {
		r.t.Fatal(err)
	}
	return prog
}

func v2(t *testing.T) *rig {
	t.Helper()
	return newRig(t, mounted("cgroup2", ""))
}

func TestRules(t *testing.T) {
	for name, c := range map[string]struct {
		allow bool
		rules []string
		want  map[string]bool
	}{
		"nothing forbidden": {true, nil, map[string]bool{"c 1:3 rw": true, "b 7:0 m": true}},
		"all forbidden":     {true, []string{"deny a"}, map[string]bool{"c 1:3 r": false, "b 7:0 m": false}},
		"some allowed": {true, []string{"deny a", "allow c 1:3 rwm", "allow c 226:* r", "allow b *:* m"}, map[string]bool{
			"c 1:3 rw": true, "c 1:3 m": true, "c 1:5 r": false, "c 226:3 r": true, "c 226:0 rw": false, "b 7:0 m": true, "b 7:0 r": false}},
		"some forbidden": {true, []string{"deny c 226:0 w", "deny b 7:* rwm"}, map[string]bool{
			"c 226:0 r": true, "c 226:0 w": false, "c 226:0 rw": false, "c 226:3 rw": true, "b 7:0 r": false, "b 1:3 r": true}},
		"taken back":  {true, []string{"deny a", "allow c 1:3 rwm", "deny c 1:3 w"}, map[string]bool{"c 1:3 r": true, "c 1:3 w": false, "c 1:3 m": true}},
		"added up":    {false, []string{"allow c 1:3 r", "allow c 1:3 w"}, map[string]bool{"c 1:3 rw": true, "c 1:3 m": false}},
		"not added":   {false, []string{"allow c 1:3 r", "allow c 1:* w"}, map[string]bool{"c 1:3 rw": false, "c 1:3 r": true, "c 1:5 w": true}},
		"a new start": {true, []string{"deny a", "allow c 1:3 rwm", "allow a *:* rwm", "deny c 1:3 r"}, map[string]bool{"c 1:3 r": false, "c 1:3 w": true, "b 7:0 r": true}},
	} {
		t.Run(name, func(t *testing.T) {
			r := v2(t)
			r.limit(c.allow, c.rules...)
			for p, want := range c.want {
				if got := r.may(p); got != want {
					t.Errorf("%s: %t, want %t", p, got, want)
				}
			}
		})
	}
}

// The same lines have the same effect in the kernel's own device cgroup.
func TestLikeV1(t *testing.T) {
	for i := range 20 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			ours, theirs := v2(t), newRig(t, mounted("cgroup", "devices"))
			pick := func(from ...string) string { return from[rand.IntN(len(from))] }
			var rules []string
			for range rand.IntN(12) {
				verb, line := pick("allow", "deny"), "a"
				if rand.IntN(6) > 0 {
					line = pick("b", "c") + " " + pick("1", "7", "226", "*") + ":" + pick("0", "3", "*") + " " + pick("r", "w", "m", "rw", "rwm")
				}
				rules = append(rules, verb+" "+line)
				theirs.write("devices."+verb, line)
			}
			ours.limit(true, rules...)
			for _, p := range probes {
				if got, want := ours.may(p), theirs.may(p); got != want {
					t.Errorf("%q: %s is %t, want %t", rules, p, got, want)
				}
			}
		})
	}
}

// Another process finds the program through the group and adds a device.
func TestGrant(t *testing.T) {
	r := v2(t)
	if found, others, err := devcgroup.Find(r.group); err == nil && (len(found) > 0 || others > 0) {
		t.Skipf("testreq: optional: %d device programs hold for all of this machine", len(found)+others)
	}
	r.limit(true, "deny a", "allow c 1:5 r").Close()
	below, err := os.MkdirTemp(r.group.Name(), "below")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(below) })
	dir, err := os.Open(below)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	found, others, err := devcgroup.Find(dir)
	if err != nil || len(found) != 1 || others != 0 {
		t.Fatalf("found %d, others %d, %v", len(found), others, err)
	}
	defer found[0].Close()
	is := func(when string, want map[string]bool) {
		t.Helper()
		for p, want := range want {
			if got := r.may(p); got != want {
				t.Errorf("%s: %s: %t, want %t", when, p, got, want)
			}
		}
	}
	without := map[string]bool{"c 226:0 rw": false, "c 226:0 r": false, "c 226:3 r": false, "b 7:0 r": false, "c 1:5 r": true}
	is("before", without)
	card := devcgroup.Device{Kind: 'c', Major: 226}
	revoke, err := found[0].Grant(card, devcgroup.Read|devcgroup.Write)
	if err != nil {
		t.Fatal(err)
	}
	with := map[string]bool{"c 226:0 rw": true, "c 226:0 r": true, "c 226:0 m": false, "c 226:3 r": false, "b 7:0 r": false, "c 1:5 r": true, "c 1:5 rw": false}
	is("granted", with)
	again, err := found[0].Grant(card, devcgroup.Read)
	if err != nil {
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Error(err)
	}
	is("granted twice, revoked once", with)
	for range 2 {
		if err := revoke(); err != nil {
			t.Error(err)
		}
	}
	is("revoked", without)
	for i := range uint32(300) {
		_, err = found[0].Grant(devcgroup.Device{Kind: 'b', Major: 1000, Minor: i}, devcgroup.Read)
		if err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "256 devices are granted already") {
		t.Errorf("the map has no end: %v", err)
	}
}

// foreign attaches a program without a map, as other runtimes' are, which allows
// everything.
func foreign(t *testing.T, group *os.File) {
	t.Helper()
	var pin runtime.Pinner
	defer pin.Unpin()
	code, license := &[2]uint64{0x1_0000_00b7, 0x95}, &[4]byte{'M', 'I', 'T'} // r0 = 1; exit
	pin.Pin(code)
	pin.Pin(license)
	load := struct {
		kind, count   uint32
		code, license uint64
		rest          [9]uint64
	}{kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: 2, code: uint64(uintptr(unsafe.Pointer(code))), license: uint64(uintptr(unsafe.Pointer(license)))}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&load)), unsafe.Sizeof(load))
	if errno != 0 {
		t.Fatal(errno)
	}
	defer unix.Close(int(fd))
	attach := [4]uint32{uint32(group.Fd()), uint32(fd), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI}
	if _, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_ATTACH, uintptr(unsafe.Pointer(&attach)), unsafe.Sizeof(attach)); errno != 0 {
		t.Fatal(errno)
	}
}

// Other runtimes' programs are counted, and asked beside ours.
func TestForeign(t *testing.T) {
	r := v2(t)
	_, before, err := devcgroup.Find(r.group)
	if errors.Is(err, devcgroup.ErrUnavailable) {
		t.Skipf("testreq: optional: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	foreign(t, r.group)
	if ours, others, err := devcgroup.Find(r.group); err != nil || len(ours) != 0 || others != before+1 {
		t.Errorf("%d, %d, %v, before %d", len(ours), others, err, before)
	}
	r.limit(false, "allow c 1:3 r")
	if !r.may("c 1:3 r") || r.may("c 1:5 r") {
		t.Error("ours is not asked beside it")
	}
	ours, others, err := devcgroup.Find(r.group)
	if err != nil || len(ours) != 1 || others != before+1 {
		t.Errorf("%d, %d, %v, before %d", len(ours), others, err, before)
	}
	for _, p := range ours {
		p.Close()
	}
}

// Both programs are asked where there are two.
func TestNested(t *testing.T) {
	r := v2(t)
	r.limit(false, "allow c 1:3 rwm", "allow c 1:5 rwm")
	r.limit(false, "allow c 1:3 r", "allow c 226:0 r")
	for p, want := range map[string]bool{"c 1:3 r": true, "c 1:3 w": false, "c 1:5 r": false, "c 226:0 r": false} {
		if got := r.may(p); got != want {
			t.Errorf("%s: %t, want %t", p, got, want)
		}
	}
	found, _, err := devcgroup.Find(r.group)
	if err != nil || len(found) < 2 {
		t.Fatalf("found %d, %v", len(found), err)
	}
	for _, p := range found {
		defer p.Close()
		if _, err := p.Grant(devcgroup.Device{Kind: 'c', Major: 226}, devcgroup.Read); err != nil {
			t.Fatal(err)
		}
	}
	if !r.may("c 226:0 r") {
		t.Error("granted in both, and forbidden")
	}
}

func TestLongest(t *testing.T) {
	r := v2(t)
	var rules []string
	for i := range 256 {
		rules = append(rules, fmt.Sprintf("allow c 300:%d r", i))
	}
	r.limit(false, append(rules[:255], "allow c 1:3 r")...)
	if !r.may("c 1:3 r") || r.may("c 1:5 r") {
		t.Error("the last rule has no effect")
	}
}

func TestBadRules(t *testing.T) {
	for _, line := range []string{"", "c", "x 1:3 rw", "c 1:3", "c 1 rw", "c 1:3 rx", "c :3 r", "c -1:3 r", "c 1:3: r", "c 4294967295:0 r", "c 1:3 r w"} {
		p := devcgroup.New(true)
		if err := p.Set(false, line); !errors.Is(err, devcgroup.ErrRule) || !strings.Contains(err.Error(), fmt.Sprintf("%q", line)) {
			t.Errorf("%q: %v", line, err)
		}
		if !p.All() {
			t.Errorf("%q changed something", line)
		}
	}
	p := devcgroup.New(false)
	for i := range 256 {
		if err := p.Set(true, fmt.Sprintf("c 1:%d r", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Set(true, "c 2:1 r"); err == nil {
		t.Error("rules without end are taken")
	}
	if err := p.Set(true, "c 1:7 w"); err != nil {
		t.Error(err)
	}
}

func FuzzSet(f *testing.F) {
	for _, s := range []string{"a", "a *:* rwm", "c 1:3 rwm", "b *:7 m", "c 1:* r\n", "c 9999999999:1 r"} {
		f.Add(true, s)
		f.Add(false, s)
	}
	f.Fuzz(func(t *testing.T, allow bool, line string) {
		p := devcgroup.New(!allow)
		if err := p.Set(allow, line); err != nil {
			return
		}
		if err := p.Set(!allow, line); err != nil {
			t.Errorf("%q is taken once: %v", line, err)
		}
	})
}
