package container

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// capabilityNames are the kernel's, by number (include/uapi/linux/capability.h).
var capabilityNames = [...]string{
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
	"setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw",
	"ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
	"sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod",
	"lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog",
	"wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
}

// The security.capability attribute as the kernel stores it: struct
// vfs_cap_data, revision 2, in little endian (include/uapi/linux/capability.h).
const (
	vfsCapRevision2 = 0x02000000
	vfsCapEffective = 1
)

// parseCapabilities reads the text form of setcap(8), as far as files know it:
// "cap_net_raw,cap_net_admin=ep", several of these with blanks between them.
// Files have one effective bit, so "e" for one capability is "e" for all.
func parseCapabilities(text string) ([]byte, error) {
	var permitted, inheritable, effective uint64
	for clause := range strings.FieldsSeq(text) {
		names, flags, ok := strings.Cut(clause, "=")
		if !ok {
			names, flags, ok = strings.Cut(clause, "+")
		}
		if !ok || flags == "" || strings.Trim(flags, "eip") != "" {
			return nil, fmt.Errorf("capabilities %q: want names, = and letters of e, i, p, such as cap_net_raw=ep", clause)
		}
		set, err := capabilitySet(names)
		if err != nil {
			return nil, err
		}
		for flag, to := range map[string]*uint64{"p": &permitted, "i": &inheritable, "e": &effective} {
			if strings.Contains(flags, flag) {
				*to |= set
			}
		}
	}
	if permitted|inheritable == 0 {
		return nil, fmt.Errorf("capabilities %q: none is permitted or inheritable", text)
	}
	if effective != 0 && effective != permitted|inheritable {
		return nil, fmt.Errorf("capabilities %q: a file is effective in all of its capabilities or in none", text)
	}
	magic := uint32(vfsCapRevision2)
	if effective != 0 {
		magic |= vfsCapEffective
	}
	out := binary.LittleEndian.AppendUint32(nil, magic)
	for shift := 0; shift <= 32; shift += 32 {
		out = binary.LittleEndian.AppendUint32(out, uint32(permitted>>shift))
		out = binary.LittleEndian.AppendUint32(out, uint32(inheritable>>shift))
	}
	return out, nil
}

func capabilitySet(names string) (uint64, error) {
	if names == "all" {
		return 1<<len(capabilityNames) - 1, nil
	}
	var set uint64
	for name := range strings.SplitSeq(names, ",") {
		i := slices.Index(capabilityNames[:], strings.TrimPrefix(strings.ToLower(name), "cap_"))
		if i < 0 {
			hint := suggest(strings.TrimPrefix(strings.ToLower(name), "cap_"), capabilityNames[:])
			return 0, fmt.Errorf("unknown capability %q %s", name, hint)
		}
		set |= 1 << i
	}
	return set, nil
}
