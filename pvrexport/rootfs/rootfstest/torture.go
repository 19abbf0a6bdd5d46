// Package rootfstest makes trees for tests of what reads and writes images:
// Torture holds one of everything that a root filesystem can hold.
package rootfstest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/pvkit/pvkit/pvrexport/rootfs"
)

// Options say how far a torture tree goes. The zero value is a tree that root
// can also extract to ext4 and back.
type Options struct {
	Seed        uint64
	LargeXattrs bool // values of 60,000 bytes; ext4 does not take them
	FarTimes    bool // times before 1970 and after 2106, which squashfs cannot hold
	LongPaths   bool // a path longer than PATH_MAX, which unsquashfs cannot extract
	IDs         int  // distinct owners; 0 is 2,500, which is more than one metadata block of squashfs
	NoUserXattr bool // for file systems without user.*, such as tmpfs before Linux 6.6
}

// Torture is Options{Seed: seed}.Tree().
func Torture(seed uint64) *rootfs.Tree { return Options{Seed: seed}.Tree() }

// Tree makes the tree. The same options give the same tree.
func (o Options) Tree() *rootfs.Tree {
	b := &builder{Options: o, t: rootfs.New(), rnd: rand.New(rand.NewPCG(o.Seed, 1))}
	if b.IDs == 0 {
		b.IDs = 2500
	}
	b.put(".", &rootfs.Node{Kind: rootfs.Dir, Mode: 0o755, ModTime: 1_700_000_000})
	b.kinds()
	b.names()
	b.large()
	b.sizes()
	b.sparse()
	b.duplicates()
	b.links()
	b.xattrs()
	b.modes()
	b.times()
	b.deep()
	return b.t
}

type builder struct {
	Options
	t    *rootfs.Tree
	rnd  *rand.Rand
	next uint64
}

// put adds a node; a name that the tree refuses is a mistake in this package.
func (b *builder) put(name string, n *rootfs.Node) *rootfs.Node {
	if err := b.t.Put(name, n); err != nil {
		panic(fmt.Sprintf("rootfstest: %v", err))
	}
	return n
}

func (b *builder) node(kind rootfs.Kind, mode uint16) *rootfs.Node {
	return &rootfs.Node{Kind: kind, Mode: mode, ModTime: b.rnd.Int64N(math.MaxUint32 + 1)}
}

func (b *builder) dir(name string) {
	b.put(name, b.node(rootfs.Dir, 0o755))
}

func (b *builder) file(name string, size int64, f Flavour) *rootfs.Node {
	n := b.node(rootfs.File, 0o644)
	b.next++
	if size > 0 {
		n.Content = &Data{Seed: b.Seed ^ b.next<<20, Length: size, Flavour: f}
	}
	return b.put(name, n)
}

func (b *builder) symlink(name, target string) *rootfs.Node {
	n := b.node(rootfs.Symlink, 0o777)
	n.Target = target
	return b.put(name, n)
}

func (b *builder) device(name string, kind rootfs.Kind, major, minor uint32) {
	n := b.node(kind, 0o660)
	n.Major, n.Minor = major, minor
	b.put(name, n)
}

func (b *builder) kinds() {
	b.dir("kinds")
	b.dir("kinds/empty directory")
	b.file("kinds/empty", 0, Noise)
	b.file("kinds/one", 1, Noise)
	b.device("kinds/null", rootfs.CharDevice, 1, 3)
	b.device("kinds/sda", rootfs.BlockDevice, 8, 0)
	b.device("kinds/largest", rootfs.CharDevice, 4095, 1<<20-1) // what a 32-bit rdev of squashfs holds
	b.device("kinds/wide minor", rootfs.BlockDevice, 259, 300)
	b.put("kinds/fifo", b.node(rootfs.Fifo, 0o600))
	b.put("kinds/socket", b.node(rootfs.Socket, 0o755))
	for _, n := range []int{1, 59, 60, 255, 1023, 4095} {
		b.symlink(fmt.Sprintf("kinds/link %d", n), strings.Repeat("0123456789abcde/", 256)[:n])
	}
	b.symlink("kinds/up", "../../../../etc/passwd")
	b.symlink("kinds/bytes", "\xff\n\x01")
}

func (b *builder) names() {
	b.dir("names")
	for _, name := range []string{
		" ", "a b", "new\nline", "tab\t", "é", "日本語", "\xff\xfe", "-rf", "*", "?", "[a]", "\\", "'\"", "...", ".hidden", "a,b;c|d", "%41",
		strings.Repeat("n", 255), strings.Repeat("é", 127), "A", "a", "~", "\x01", "\x7f", "json", "#spec", ".wh.not a whiteout",
	} {
		b.file("names/"+name, int64(len(name)), Text)
	}
}

// large is a directory with many blocks of entries, and as many owners as asked.
func (b *builder) large() {
	b.dir("large")
	for i := range max(5000, b.IDs) {
		n := b.file(fmt.Sprintf("large/%s-%05d", strings.Repeat("x", i%40), i), int64(i%7), Text)
		n.UID = uint32(i%b.IDs) * 4099
		n.GID = uint32((i+1)%b.IDs) * 4099
	}
	n := b.file("large/last owner", 3, Text)
	n.UID, n.GID = math.MaxUint32-1, math.MaxUint32-2
}

// sizes are files around every block size that squashfs knows.
func (b *builder) sizes() {
	b.dir("sizes")
	for size := int64(4 << 10); size <= 1<<20; size *= 2 {
		for _, d := range []int64{-1, 0, 1} {
			b.file(fmt.Sprintf("sizes/%d", size+d), size+d, Flavour((size/4096+d+1)%3))
		}
	}
	b.file("sizes/several blocks", 3<<20+12345, Mixed)
}

func (b *builder) sparse() {
	b.dir("sparse")
	const size = 5<<20 + 77
	for name, holes := range map[string][][2]int64{
		"all": {{0, size}}, "start": {{0, 2 << 20}}, "end": {{3 << 20, size}},
		"middle": {{1 << 20, 4 << 20}}, "small": {{4096, 8192}, {12288, 135168}}, "unaligned": {{100, 3 << 20}},
	} {
		n := &rootfs.Node{Kind: rootfs.File, Mode: 0o644, ModTime: 1, Content: &Data{Seed: b.Seed + 5, Length: size, Flavour: Text, Holes: holes}}
		b.put("sparse/"+name, n)
	}
}

func (b *builder) duplicates() {
	b.dir("duplicates")
	for i, size := range []int64{1, 100, 4096, 70000, 1 << 20, 1<<20 + 5} {
		for _, copyOf := range []string{"a", "b", "c"} {
			n := b.node(rootfs.File, 0o644)
			n.Content = &Data{Seed: b.Seed + uint64(i), Length: size, Flavour: Mixed}
			b.put(fmt.Sprintf("duplicates/%s-%d", copyOf, size), n)
		}
	}
}

func (b *builder) links() {
	b.dir("links/a")
	b.dir("links/b/c")
	f := b.file("links/a/file", 5000, Text)
	for _, name := range []string{"links/a/second", "links/b/third", "links/b/c/fourth"} {
		b.put(name, f)
	}
	b.put("links/b/symlink", b.symlink("links/a/symlink", "file"))
	b.put("links/b/fifo", b.t.Lookup("kinds/fifo"))
	b.put("links/b/empty", b.file("links/a/empty", 0, Noise))
	b.put("links/big", b.t.Lookup("sizes/several blocks"))
}

// Capability returns the value of security.capability, revision 2, that gives
// the capabilities in mask, effective (struct vfs_cap_data in
// include/uapi/linux/capability.h).
func Capability(mask uint64) []byte {
	v := binary.LittleEndian.AppendUint32(nil, 0x02000000|1)
	for shift := 0; shift < 64; shift += 32 {
		v = binary.LittleEndian.AppendUint32(v, uint32(mask>>shift))
		v = binary.LittleEndian.AppendUint32(v, 0)
	}
	return v
}

func (b *builder) xattrs() {
	b.dir("xattrs")
	b.file("xattrs/ping", 100, Text).SetXattr("security.capability", Capability(1<<13))
	length := 1500
	if b.LargeXattrs {
		length = 60000
	}
	large := strings.Repeat(fmt.Sprintf("large %d ", b.Seed), 20000)[:length]
	for i := range 40 {
		n := b.file(fmt.Sprintf("xattrs/shared %d", i), 10, Text)
		n.SetXattr("trusted.shared", []byte("the same everywhere"))
		if i%2 == 0 {
			n.SetXattr("security.large", []byte(large))
		}
		b.user(n, "user.own", fmt.Sprint("value ", i))
	}
	n := b.file("xattrs/many", 0, Noise)
	for i := range 20 {
		n.SetXattr(fmt.Sprintf("trusted.name%d", i), []byte(strings.Repeat("v", i)))
	}
	n.SetXattr("trusted.bytes", []byte{0, 255, 0, '='})
	b.user(n, "user."+strings.Repeat("n", 250), "long name")
	dir := b.put("xattrs/directory", b.node(rootfs.Dir, 0o700))
	b.user(dir, "user.on directory", "v")
	b.user(b.t.Root(), "user.on root", "v")
	b.symlink("xattrs/symlink", "x").SetXattr("trusted.on symlink", []byte("v"))
	b.put("xattrs/fifo", b.node(rootfs.Fifo, 0o644)).SetXattr("trusted.on fifo", []byte("v"))
	b.put("xattrs/socket", b.node(rootfs.Socket, 0o644)).SetXattr("trusted.on socket", []byte("v"))
	b.device("xattrs/char", rootfs.CharDevice, 1, 5)
	b.t.Lookup("xattrs/char").SetXattr("trusted.on device", []byte("v"))
	b.device("xattrs/block", rootfs.BlockDevice, 7, 1)
	b.t.Lookup("xattrs/block").SetXattr("security.on device", []byte("v"))
}

func (b *builder) user(n *rootfs.Node, name, value string) {
	if !b.NoUserXattr {
		n.SetXattr(name, []byte(value))
	}
}

func (b *builder) modes() {
	b.dir("modes")
	for _, mode := range []uint16{0, 0o111, 0o4755, 0o2755, 0o1777, 0o6711, 0o7777, 0o4000} {
		b.file(fmt.Sprintf("modes/file %04o", mode), 9, Text).Mode = mode
		b.put(fmt.Sprintf("modes/directory %04o", mode), b.node(rootfs.Dir, mode))
	}
}

func (b *builder) times() {
	b.dir("times")
	times := []int64{0, 1, math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32}
	if b.FarTimes {
		times = append(times, -1, math.MinInt32, math.MaxUint32+1, 253402300799)
	}
	for _, at := range times {
		b.file(fmt.Sprintf("times/%d", at), 1, Text).ModTime = at
	}
}

func (b *builder) deep() {
	levels, part := 100, "directory"
	if b.LongPaths {
		part = strings.Repeat("directory", 20)
	}
	name := "deep"
	for range levels {
		b.dir(name)
		name += "/" + part
	}
	b.file(name, 5, Text)
}
