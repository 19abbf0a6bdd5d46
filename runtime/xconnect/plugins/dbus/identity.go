package dbus

import (
	"bytes"
	"math"
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
