// Package hostinfo reads what the runtime tells about the machine it runs on:
// the values of the device-meta keys that pantavisor fills in by itself
// (metadata.c, network.c and storage.c of github.com/pantavisor/pantavisor).
// Every function returns the value as it is stored, JSON where it is JSON, with
// the members in upstream's order. "" means that this machine does not say.
package hostinfo

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// archNames are the kernel's names of Go's architectures, where they differ.
var archNames = map[string]string{"amd64": "x86_64", "386": "i686", "arm64": "aarch64"}

// Arch is the architecture, its word size and byte order: "x86_64/64/EL".
func Arch() string {
	name := runtime.GOARCH
	if n, ok := archNames[name]; ok {
		name = n
	}
	order := "EB"
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		order = "EL"
	}
	return fmt.Sprintf("%s/%d/%s", name, 8*unsafe.Sizeof(uintptr(0)), order)
}

// maxFile is more than any of the files has that are read here.
const maxFile = 1 << 20

// CPUModel is the model name of the first CPU in /proc/cpuinfo.
func CPUModel() string { return cpuModel(readFile("/proc/cpuinfo")) }

func cpuModel(info []byte) string {
	for line := range bytes.Lines(info) {
		key, value, ok := strings.Cut(string(line), ":")
		if ok && strings.EqualFold(strings.TrimSpace(key), "model name") {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// DTModel is the model in the device tree, which PCs do not have.
func DTModel() string {
	return strings.TrimRight(string(readFile("/proc/device-tree/model")), "\x00\n")
}

func readFile(name string) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	buf := make([]byte, maxFile)
	n := 0
	for n < len(buf) {
		m, err := f.Read(buf[n:])
		n += m
		if err != nil {
			break
		}
	}
	return buf[:n]
}

// object writes a JSON object with its members in order.
type object struct{ bytes.Buffer }

func (o *object) add(key string, value any) {
	if o.Len() == 0 {
		o.WriteByte('{')
	} else {
		o.WriteByte(',')
	}
	fmt.Fprintf(o, "%s:%s", quote(key), quote(value))
}

// quote is the JSON of a value that always has one.
func quote(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return b
}

func (o *object) text() string {
	if o.Len() == 0 {
		return "{}"
	}
	return o.String() + "}"
}

// Release is that of the kernel, "" if it does not say.
func Release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Uname is uname(2) as JSON.
func Uname() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	var o object
	o.add("kernel.name", unix.ByteSliceToString(u.Sysname[:]))
	o.add("kernel.release", unix.ByteSliceToString(u.Release[:]))
	o.add("kernel.version", unix.ByteSliceToString(u.Version[:]))
	o.add("node.name", unix.ByteSliceToString(u.Nodename[:]))
	o.add("machine", unix.ByteSliceToString(u.Machine[:]))
	return o.text()
}

// Sysinfo is sysinfo(2) as JSON.
func Sysinfo() string {
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) != nil {
		return ""
	}
	var o object
	o.add("uptime", i.Uptime)
	o.add("loads.0", i.Loads[0])
	o.add("loads.1", i.Loads[1])
	o.add("loads.2", i.Loads[2])
	o.add("totalram", i.Totalram)
	o.add("freeram", i.Freeram)
	o.add("sharedram", i.Sharedram)
	o.add("bufferram", i.Bufferram)
	o.add("totalswap", i.Totalswap)
	o.add("freeswap", i.Freeswap)
	o.add("procs", i.Procs)
	o.add("totalhigh", i.Totalhigh)
	o.add("freehigh", i.Freehigh)
	o.add("mem_unit", i.Unit)
	return o.text()
}

// Time is a point in time as gettimeofday(2) gives it, as JSON.
func Time(t time.Time) string {
	var clock, zone, o object
	clock.add("tv_sec", t.Unix())
	clock.add("tv_usec", t.Nanosecond()/1000)
	zone.add("tz_minuteswest", 0)
	zone.add("tz_dsttime", 0)
	o.add("timeval", json.RawMessage(clock.text()))
	o.add("timezone", json.RawMessage(zone.text()))
	return o.text()
}

// Storage is the space of the file system that a directory is on, as JSON.
// reserve is the percentage of it that is kept free.
func Storage(dir string, reserve int) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return ""
	}
	total := s.Blocks * uint64(s.Bsize)
	free := s.Bfree * uint64(s.Bsize)
	reserved := total / 100 * uint64(max(0, reserve))
	var o object
	o.add("total", total)
	o.add("free", free)
	o.add("reserved", reserved)
	o.add("real_free", free-min(free, reserved))
	return o.text()
}

// Interfaces lists the network interfaces that this process sees with their
// hardware and network addresses, as JSON.
func Interfaces() string {
	list, err := net.Interfaces()
	if err != nil {
		return ""
	}
	var o object
	for _, i := range list {
		if len(i.HardwareAddr) == 6 && slices.ContainsFunc(i.HardwareAddr, func(b byte) bool { return b != 0 }) {
			o.add(i.Name+".mac", []string{i.HardwareAddr.String()})
		}
		v4, v6 := addresses(i)
		if len(v4) > 0 {
			o.add(i.Name+".ipv4", v4)
		}
		if len(v6) > 0 {
			o.add(i.Name+".ipv6", v6)
		}
	}
	return o.text()
}

func addresses(i net.Interface) (v4, v6 []string) {
	list, err := i.Addrs()
	if err != nil {
		return nil, nil // the interface went away
	}
	for _, a := range list {
		n, ok := a.(*net.IPNet)
		switch {
		case !ok:
		case n.IP.To4() != nil:
			v4 = append(v4, n.IP.String())
		case n.IP.IsLinkLocalUnicast():
			v6 = append(v6, n.IP.String()+"%"+i.Name)
		default:
			v6 = append(v6, n.IP.String())
		}
	}
	return v4, v6
}
