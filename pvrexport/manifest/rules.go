package manifest

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// The checks of single arguments beyond their type, as the table names them.
// Each gets the argument's normal form.

func checkWord(c *checker, at string, v any) { c.word(at, argName(at), v.(string)) }

func checkWords(c *checker, at string, v any) {
	for _, s := range v.([]string) {
		c.word(at, argName(at)+": the entry", s)
	}
}

// checkDrivers also keeps off the keys of run.json's drivers object.
func checkDrivers(c *checker, at string, v any) {
	checkWords(c, at, v)
	for _, s := range v.([]string) {
		c.notKey(at, argName(at)+": the driver", s, "manual", "required", "optional")
	}
}

func checkVolumeNames(c *checker, at string, v any) {
	for _, s := range v.([]string) {
		c.name(at, argName(at)+": the volume", s)
	}
}

// argName is the argument's name in a path "args.NAME".
func argName(at string) string { return strings.TrimPrefix(at, "args.") }

// mountAuto are the words that lxc accepts (lxc confile.c, set_config_mount_auto).
var mountAuto = regexp.MustCompile(`^(proc(:mixed|:rw)?|sys(:ro|:mixed|:rw)?|cgroup2(:ro)?(:force)?|cgroup(-full)?(:mixed|:ro|:rw)?(:force)?)$`)

func checkMountAuto(c *checker, at string, v any) {
	for _, s := range strings.FieldsFunc(v.(string), func(r rune) bool { return r == ' ' }) {
		if !mountAuto.MatchString(s) && !strings.HasPrefix(s, "shmounts:") {
			c.bad(at, "%s: lxc does not know the automatic mount %q", argName(at), shorten(s))
		}
	}
}

// devices is what the kernel's cgroup v1 takes (Documentation/admin-guide/cgroup-v1/devices.rst).
var devices = regexp.MustCompile(`^(a|[abc] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3})$`)

func checkDevices(c *checker, at string, v any) {
	for _, s := range v.([]string) {
		if !devices.MatchString(s) {
			c.bad(at, "%s: got %q, want type, numbers and access such as \"c 1:3 rwm\" or \"b 8:* r\"", argName(at), shorten(s))
		}
	}
}

var confLine = regexp.MustCompile(`^[a-zA-Z0-9_.]+[ \t]*=`)

func checkCgroupLines(c *checker, at string, v any) {
	for _, s := range v.([]string) {
		if !confLine.MatchString(s) {
			c.bad(at, "%s: got %q, want \"key = value\"", argName(at), shorten(s))
		}
	}
}

func checkExtraConf(c *checker, at string, v any) {
	for i, line := range strings.Split(v.(string), "\n") {
		trimmed := strings.TrimLeft(line, " \t")
		switch {
		case control(line):
			c.bad(at, "%s: line %d holds a control character", argName(at), i+1)
		case trimmed == "" || trimmed[0] == '#':
		case !confLine.MatchString(trimmed):
			c.bad(at, "%s: line %d is %q, want \"key = value\"", argName(at), i+1, shorten(line))
		case !strings.HasPrefix(trimmed, "lxc."):
			c.warn(at, "%s: line %d: lxc passes over keys that do not start with \"lxc.\"", argName(at), i+1)
		}
	}
}

func checkEnvironment(c *checker, at string, v any) {
	for _, s := range v.([]string) {
		c.environment(at, argName(at), s)
	}
}

// environment checks one "NAME=value". Without "=", lxc looks the name up in
// its own environment and refuses the whole file if it is not there (lxc
// confile.c, set_config_environment_impl).
func (c *checker) environment(at, what, s string) {
	name, _, found := strings.Cut(s, "=")
	switch {
	case !found:
		c.report(ruleValue, diag.Error, at, fmt.Sprintf("%s: %q has no value", what, shorten(s)), fmt.Sprintf("write %q", shorten(s)+"="))
	case name == "" || strings.ContainsAny(name, " \t\"'"):
		c.bad(at, "%s: %q does not start with the name of a variable", what, shorten(s))
	case control(s):
		c.bad(at, "%s: the value of %s holds a newline or another control character, which lxc.container.conf cannot hold", what, name)
	}
}

// namespaces are those that lxc knows (lxc namespace.c, ns_info).
var namespaces = []string{"user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"}

func checkNamespaces(c *checker, at string, v any) {
	for _, s := range strings.Fields(v.(string)) {
		if !slices.Contains(namespaces, s) {
			c.bad(at, "%s: %q is not a namespace: want some of %s", argName(at), shorten(s), strings.Join(namespaces, ", "))
		}
	}
}

// capabilities are Linux 6's, as lxc spells them (lxc conf.c, caps_opt).
var capabilities = strings.Fields(`
	chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service
	net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin
	sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override
	mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore`)

func checkCapabilities(c *checker, at string, v any) {
	for _, entry := range v.([]string) {
		for _, s := range strings.Fields(strings.ToLower(entry)) {
			switch {
			case slices.Contains(capabilities, s), s == "none" && argName(at) == "PV_LXC_CAP_KEEP", digits.MatchString(s):
			case slices.Contains(capabilities, strings.TrimPrefix(s, "cap_")):
				c.report(ruleValue, diag.Error, at, fmt.Sprintf("%s: lxc writes %q without \"cap_\"", argName(at), s), "write "+strings.TrimPrefix(s, "cap_"))
			default:
				c.report(ruleValue, diag.Warning, at, fmt.Sprintf("%s: %q is not a capability that lxc knows", argName(at), shorten(s)), nearest(s, capabilities))
			}
		}
	}
}

func checkIPv4(c *checker, at string, v any) {
	addr, broadcast, two := strings.Cut(v.(string), " ")
	p, err := netip.ParsePrefix(addr)
	a := p.Addr()
	if err != nil {
		a, err = netip.ParseAddr(addr)
	}
	if two && err == nil {
		_, err = netip.ParseAddr(broadcast)
	}
	if err != nil || !a.Is4() {
		c.bad(at, "%s: got %q, want an IPv4 address such as 10.0.3.2/24", argName(at), shorten(v.(string)))
	}
}

func checkGateway(c *checker, at string, v any) {
	if s := v.(string); s != "auto" && s != "dev" {
		checkAddress(c, at, v)
	}
}

func checkAddress(c *checker, at string, v any) {
	if a, err := netip.ParseAddr(v.(string)); err != nil || !a.Is4() {
		c.bad(at, "%s: got %q, want an IPv4 address such as 10.0.3.1", argName(at), shorten(v.(string)))
	}
}

func checkMAC(c *checker, at string, v any) {
	s := v.(string)
	mac, err := net.ParseMAC(s)
	switch {
	case err != nil || len(mac) != 6 || !strings.Contains(s, ":"):
		c.bad(at, "%s: got %q, want six bytes such as 02:00:00:aa:bb:cc", argName(at), shorten(s))
	case mac[0]&1 == 1:
		c.bad(at, "%s: %s is a multicast address, which no interface can have", argName(at), s)
	}
}

// checkInterface holds a name to the kernel's rule (net/core/dev.c, dev_valid_name).
func checkInterface(c *checker, at string, v any) {
	if s := v.(string); len(s) > 15 || s == "." || s == ".." || control(s) || strings.ContainsAny(s, "/: \t\"'") {
		c.bad(at, "%s: %q cannot be the name of a network interface", argName(at), shorten(s))
	}
}

var hostnameRule = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$`)

func checkHostname(c *checker, at string, v any) {
	if s := v.(string); !hostnameRule.MatchString(s) {
		c.bad(at, "%s: %q cannot be a host name: want letters, digits, \"-\" and \".\", at most 64 of them", argName(at), shorten(s))
	}
	c.notKey(at, argName(at), v.(string), networkKeys...)
}

func checkPool(c *checker, at string, v any) {
	if c.word(at, argName(at), v.(string)) {
		c.notKey(at, argName(at), v.(string), networkKeys...)
	}
}

// roleNames are the roles that devices know.
var roleNames = []string{"mgmt", "nobody"}

func checkRoles(c *checker, at string, v any) {
	roles := v.([]string)
	if len(roles) == 0 {
		c.report(ruleValue, diag.Error, at, "PV_ROLES: an empty list says nothing", `write ["nobody"] for a container without rights, or leave PV_ROLES out for mgmt`)
	}
	for _, s := range roles {
		if c.word(at, "PV_ROLES: the role", s) && !slices.Contains(roleNames, s) {
			c.report(ruleValue, diag.Warning, at, fmt.Sprintf("PV_ROLES: devices pass over the role %q", shorten(s)), nearest(s, roleNames))
		}
	}
}

// checkRemount compares with what pantavisor's remount program walks through
// (remount/remount.c): a list of objects with one member each.
func checkRemount(c *checker, at string, v any) {
	policies := v.(map[string]any)
	for _, policy := range sortedKeys(policies) {
		list, ok := policies[policy].([]any)
		for _, e := range list {
			entry, isObject := e.(map[string]any)
			ok = ok && isObject && len(entry) == 1
			for where, options := range entry {
				text, isText := options.(string)
				ok = ok && isText
				c.word(at, "PV_REMOUNT: the path", where)
				c.word(at, "PV_REMOUNT: the options", text)
			}
		}
		if !ok {
			c.warn(at, "PV_REMOUNT: the device passes over the policy %q: want a list of {\"<path>\": \"<options>\"}", shorten(policy))
		}
	}
}
