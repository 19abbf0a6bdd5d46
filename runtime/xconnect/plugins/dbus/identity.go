package dbus

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

// nobody is the user and group of a role that the provider does not know: the
// kernel's overflow ids.
const nobody = 65534

// roleCred finds the identity of a role. A number is the user id itself;
// anything else is a user of the provider's, as its /etc/passwd has it (passwd(5)).
// A group is not inherited from the daemon: it is the user's, or nobody's.
func roleCred(role string, passwd []byte) xconnect.Cred {
	id, numeric := parseID(role)
	for line := range bytes.Lines(passwd) {
		f := strings.Split(strings.TrimSuffix(string(line), "\n"), ":")
		if len(f) < 4 {
			continue
		}
		uid, okUID := parseID(f[2])
		gid, okGID := parseID(f[3])
		switch {
		case numeric && okUID && uid == id && okGID:
			return xconnect.Cred{UID: id, GID: gid}
		case !numeric && f[0] == role && role != "" && okUID && okGID:
			return xconnect.Cred{UID: uid, GID: gid}
		case !numeric && f[0] == role:
			return xconnect.Cred{UID: nobody, GID: nobody} // the entry says nothing certain
		}
	}
	if numeric {
		return xconnect.Cred{UID: id, GID: nobody}
	}
	return xconnect.Cred{UID: nobody, GID: nobody}
}

// parseID reads a user or group id: digits only, and not (uid_t)-1, which
// means "none" to the kernel.
func parseID(s string) (uint32, bool) {
	if strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == math.MaxUint32 {
		return 0, false
	}
	return uint32(n), true
}

// outside translates an identity from a process's user namespace to ours, for
// that is what a connecting thread takes on. The bus sees it translated back.
func outside(c xconnect.Cred, pid int) (xconnect.Cred, error) {
	if pid <= 0 {
		return c, nil // the host
	}
	for _, m := range []struct {
		file string
		id   *uint32
	}{{"uid_map", &c.UID}, {"gid_map", &c.GID}} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, m.file))
		if errors.Is(err, fs.ErrNotExist) {
			return c, xconnect.ErrPeerGone
		}
		if err != nil {
			return c, fmt.Errorf("read the provider's user namespace: %w", err)
		}
		id, ok := mapID(*m.id, b)
		if !ok {
			return c, fmt.Errorf("the role's id %d is not in the provider's %s", *m.id, m.file)
		}
		*m.id = id
	}
	return c, nil
}

// mapID reads lines of first id inside, first id outside, count:
// user_namespaces(7).
func mapID(id uint32, idMap []byte) (uint32, bool) {
	for line := range bytes.Lines(idMap) {
		var in, out, n uint32
		if _, err := fmt.Sscan(string(line), &in, &out, &n); err != nil {
			continue
		}
		if id >= in && id-in < n {
			return out + (id - in), true
		}
	}
	return 0, false
}
