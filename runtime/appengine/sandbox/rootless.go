package sandbox

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// idMaps says which users a rootless container has. Without the programs
// newuidmap and newgidmap there is one: its root is who runs us.
type idMaps struct {
	uid, gid       int
	subUID, subGID idRange // empty without those programs
}

type idRange struct{ first, count int }

// privileges finds out whether we may make namespaces as they are or need a user
// namespace around them.
func (h *Host) privileges() {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	if err == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0 {
		return
	}
	h.rootless = true
	h.maps = &idMaps{uid: os.Geteuid(), gid: os.Getegid()}
	h.notes = append(h.notes,
		"rootless: images are copied instead of mounted, and their files belong to this user",
		"rootless: devices are the host's own nodes; no new ones can be made")
	uids, gids := subIDs("/etc/subuid", h.maps.uid), subIDs("/etc/subgid", h.maps.uid)
	_, err1 := findProgram("newuidmap", nil)
	_, err2 := findProgram("newgidmap", nil)
	if uids.count > 0 && gids.count > 0 && err1 == nil && err2 == nil {
		h.maps.subUID, h.maps.subGID = uids, gids
		return
	}
	h.notes = append(h.notes, "rootless: a container has one user and one group, because there is no newuidmap with a range for this user in /etc/subuid")
}

// subIDs reads the first range of a user in /etc/subuid or /etc/subgid
// (subuid(5)).
func subIDs(file string, uid int) idRange {
	f, err := os.Open(file)
	if err != nil {
		return idRange{}
	}
	defer f.Close()
	name := ""
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		name = u.Username
	}
	s := bufio.NewScanner(f)
	for s.Scan() {
		part := strings.Split(strings.TrimSpace(s.Text()), ":")
		if len(part) != 3 || part[0] != strconv.Itoa(uid) && (part[0] != name || name == "") {
			continue
		}
		first, err1 := strconv.Atoi(part[1])
		count, err2 := strconv.Atoi(part[2])
		if err1 == nil && err2 == nil && count > 0 {
			return idRange{first, count}
		}
	}
	return idRange{}
}

func (m *idMaps) ranges() bool { return m.subUID.count > 0 }

// maxID is the highest user and group in the namespace.
func (m *idMaps) maxID() uint32 { return uint32(min(m.subUID.count, m.subGID.count)) }

// prepare asks for a user namespace. With ranges the maps come later, from
// outside; until then the child keeps its capabilities over exec as ambient
// ones.
func (m *idMaps) prepare(attr *syscall.SysProcAttr) {
	attr.Cloneflags |= unix.CLONE_NEWUSER
	if m.ranges() {
		for c := uintptr(0); c <= lastCap(); c++ {
			attr.AmbientCaps = append(attr.AmbientCaps, c)
		}
		return
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: m.uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: m.gid, Size: 1}}
}

func lastCap() uintptr {
	data, _ := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return unix.CAP_LAST_CAP
	}
	return uintptr(n)
}

// apply writes the maps with newuidmap and newgidmap.
func (m *idMaps) apply(pid int) error {
	if !m.ranges() {
		return nil
	}
	for _, x := range []struct {
		tool string
		id   int
		sub  idRange
	}{{"newuidmap", m.uid, m.subUID}, {"newgidmap", m.gid, m.subGID}} {
		tool, err := findProgram(x.tool, nil)
		if err != nil {
			return err
		}
		out, err := exec.Command(tool, strconv.Itoa(pid), "0", strconv.Itoa(x.id), "1",
			"1", strconv.Itoa(x.sub.first), strconv.Itoa(x.sub.count)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", x.tool, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
