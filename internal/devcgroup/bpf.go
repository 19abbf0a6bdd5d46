package devcgroup

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpf(2). The arguments are the members of union bpf_attr in
// include/uapi/linux/bpf.h; a pointer is a number of 64 bits on every platform,
// at a multiple of 8, so what it points to is pinned by the caller.

func bpf(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		fd, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EAGAIN, unix.EINTR: // the verifier gives way to signals
			continue
		}
		return -1, errno
	}
}

// address pins what p points to.
func address[T any](pin *runtime.Pinner, p *T) uint64 {
	pin.Pin(p)
	return uint64(uintptr(unsafe.Pointer(p)))
}

// objectName has room for BPF_OBJ_NAME_LEN bytes, the last of them zero.
type objectName [unix.BPF_OBJ_NAME_LEN]byte

func named(s string) (n objectName) {
	copy(n[:len(n)-1], s)
	return n
}

func createMap(name string, key, value, entries uint32) (int, error) {
	attr := struct {
		kind, keySize, valueSize, entries, flags, inner, node uint32
		name                                                  objectName
	}{kind: unix.BPF_MAP_TYPE_HASH, keySize: key, valueSize: value, entries: entries, flags: unix.BPF_F_NO_PREALLOC, name: named(name)}
	return bpf(unix.BPF_MAP_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

func loadProgram(name string, code []insn) (int, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	license := []byte("MIT\x00")
	attr := struct {
		kind, count       uint32
		code, license     uint64
		logLevel, logSize uint32
		log               uint64
		version, flags    uint32
		name              objectName
		ifindex, attach   uint32
	}{kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(code)), code: address(&pin, &code[0]), license: address(&pin, &license[0]), name: named(name)}
	return bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

func attach(group, prog int) error {
	attr := struct{ group, prog, kind, flags uint32 }{uint32(group), uint32(prog), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI}
	_, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// query lists the programs that hold for a group, those of groups above included.
func query(group int) ([]uint32, error) {
	for n := 64; ; n *= 2 {
		var pin runtime.Pinner
		ids := make([]uint32, n)
		attr := struct {
			group, kind, flags, attached uint32
			ids                          uint64
			count, pad                   uint32
		}{group: uint32(group), kind: unix.BPF_CGROUP_DEVICE, flags: unix.BPF_F_QUERY_EFFECTIVE, ids: address(&pin, &ids[0]), count: uint32(n)}
		_, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		pin.Unpin()
		if err == unix.ENOSPC && n < 1<<16 {
			continue
		}
		if err != nil {
			return nil, err
		}
		return ids[:attr.count], nil
	}
}

func byID(cmd int, id uint32) (int, error) {
	attr := struct{ id, next, flags uint32 }{id: id}
	return bpf(cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

func objectInfo[T any](fd int, info *T) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	attr := struct {
		fd, size uint32
		info     uint64
	}{uint32(fd), uint32(unsafe.Sizeof(*info)), address(&pin, info)}
	_, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// mapsOf lists a program's maps: struct bpf_prog_info up to map_ids.
func mapsOf(prog int) ([]uint32, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	ids := make([]uint32, 64) // the kernel allows no more in a program
	info := struct {
		kind, id            uint32
		tag                 [8]byte
		jitedSize, xlated   uint32
		jitedCode, xlatedTo uint64
		loaded              uint64
		user, count         uint32
		ids                 uint64
	}{count: uint32(len(ids)), ids: address(&pin, &ids[0])}
	if err := objectInfo(prog, &info); err != nil {
		return nil, err
	}
	return ids[:min(int(info.count), len(ids))], nil
}

// mapFacts is struct bpf_map_info up to the name.
type mapFacts struct {
	kind, _, keySize, valueSize, _, _ uint32
	name                              objectName
}

func mapInfo(fd int) (info mapFacts, err error) {
	err = objectInfo(fd, &info)
	return info, err
}

func insert(m int, k *key, value uint32) error {
	return element(unix.BPF_MAP_UPDATE_ELEM, m, k, &value, unix.BPF_NOEXIST)
}

func remove(m int, k *key) error { return element(unix.BPF_MAP_DELETE_ELEM, m, k, nil, 0) }

func element(cmd, m int, k *key, value *uint32, flags uint64) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	attr := struct {
		m, pad            uint32
		key, value, flags uint64
	}{m: uint32(m), key: address(&pin, k), flags: flags}
	if value != nil {
		attr.value = address(&pin, value)
	}
	_, err := bpf(cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}
