package lxctools

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/runtime/rundir"
)

// maxProc limits what is read of a file in /proc.
const maxProc = 8 << 20

func readProc(pid int, name string) []byte {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/" + name)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxProc))
	if err != nil {
		return nil
	}
	return b
}

// addresses are the process's network namespace's own, without those of lo and
// of single links, as LXC gives them: IPv4 first.
func addresses(pid int) (v4, v6 []netip.Addr) {
	return ParseFibTrie(readProc(pid, "net/fib_trie")), ParseIfInet6(readProc(pid, "net/if_inet6"))
}

// ParseFibTrie finds the local IPv4 addresses in /proc/net/fib_trie: a leaf
// "|-- address" that a line "/32 host LOCAL" follows.
func ParseFibTrie(b []byte) []netip.Addr {
	var all []netip.Addr
	var leaf netip.Addr
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		if a, ok := strings.CutPrefix(line, "|-- "); ok {
			leaf, _ = netip.ParseAddr(a)
		} else if line == "/32 host LOCAL" && leaf.Is4() && !leaf.IsLoopback() {
			all = append(all, leaf)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// ParseIfInet6 finds the IPv6 addresses in /proc/net/if_inet6.
func ParseIfInet6(b []byte) []netip.Addr {
	var all []netip.Addr
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) != 6 {
			continue
		}
		raw, err := hex.DecodeString(fields[0])
		a, ok := netip.AddrFromSlice(raw)
		if err != nil || !ok || !a.Is6() || a.IsLoopback() || a.IsLinkLocalUnicast() {
			continue
		}
		all = append(all, a)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// interfaces are the names of the namespace's network interfaces.
func interfaces(pid int) []string {
	var all []string
	for i, line := range strings.Split(string(readProc(pid, "net/dev")), "\n") {
		if name, _, ok := strings.Cut(line, ":"); ok && i >= 2 { // two lines of titles
			all = append(all, strings.TrimSpace(name))
		}
	}
	slices.Sort(all)
	return all
}

// usage is what a process's cgroups have used. ok is false for what no
// controller counts.
type usage struct {
	memory, swap, cpu       uint64 // bytes, bytes, nanoseconds
	hasMem, hasSwap, hasCPU bool
}

// usageOf reads the files of cgroup v2, or those of v1 where a controller is
// there. Only the group of the container's own counts, whose path ends in
// /lxc/<name>, perhaps with groups below it: others are the whole machine's.
func usageOf(c rundir.Container) usage {
	var u usage
	for line := range strings.Lines(string(readProc(c.PID, "cgroup"))) {
		id, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		path, ok := ownGroup(path, c.Name)
		if !ok {
			continue
		}
		if id == "0" && controllers == "" {
			u.unified(path)
			continue
		}
		for c := range strings.SplitSeq(controllers, ",") {
			dir := filepath.Join("/sys/fs/cgroup", controllers, path)
			switch c {
			case "memory":
				u.memory, u.hasMem = number(dir + "/memory.usage_in_bytes")
				if both, ok := number(dir + "/memory.memsw.usage_in_bytes"); ok && both >= u.memory {
					u.swap, u.hasSwap = both-u.memory, true
				}
			case "cpuacct":
				u.cpu, u.hasCPU = number(dir + "/cpuacct.usage")
			}
		}
	}
	return u
}

// ownGroup cuts a path after /lxc/<name>.
func ownGroup(path, name string) (string, bool) {
	own := "/lxc/" + name
	i := strings.Index(path+"/", own+"/")
	if i < 0 {
		return "", false
	}
	return path[:i+len(own)], true
}

func (u *usage) unified(path string) {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		dir := filepath.Join(root, path)
		if n, ok := number(dir + "/memory.current"); ok {
			u.memory, u.hasMem = n, true
			u.swap, u.hasSwap = number(dir + "/memory.swap.current")
		}
		if b, err := os.ReadFile(dir + "/cpu.stat"); err == nil && !u.hasCPU {
			for line := range strings.Lines(string(b)) {
				if n, ok := strings.CutPrefix(strings.TrimSpace(line), "usage_usec "); ok {
					us, err := strconv.ParseUint(n, 10, 64)
					u.cpu, u.hasCPU = us*1000, err == nil
				}
			}
		}
	}
}

func number(file string) (uint64, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// human is LXC's way to write a size.
func human(n uint64) string {
	for _, u := range []struct {
		name string
		at   uint64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.at {
			return fmt.Sprintf("%.2f %s", float64(n)/float64(u.at), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
