package manifest

// table is every known argument, sorted by name. The order is tested, find
// depends on it.
var table = []argument{
	{Argument: Argument{
		Name: "LXC_MOUNT_AUTO_GROUP", Type: Text, Default: "`cgroup`",
		Effect: "third part of `lxc.mount.auto`",
		Doc:    "how the cgroup file systems are mounted; an empty text leaves them out",
	}, check: checkMountAuto, emptyCounts: true},
	{Argument: Argument{
		Name: "LXC_MOUNT_AUTO_PROC", Type: Text, Default: "`proc`",
		Effect: "first part of `lxc.mount.auto`",
		Doc:    "how /proc is mounted; an empty text leaves it out",
	}, check: checkMountAuto, emptyCounts: true},
	{Argument: Argument{
		Name: "LXC_MOUNT_AUTO_SYS", Type: Text, Default: "`sys:rw`",
		Effect: "second part of `lxc.mount.auto`",
		Doc:    "how /sys is mounted; an empty text leaves it out",
	}, check: checkMountAuto, emptyCounts: true},
	{Argument: Argument{
		Name: "LXC_PTY_MAX", Type: Number, Default: "`1024`",
		Effect: "`lxc.pty.max`", Doc: "how many pseudo terminals the container may open",
	}},
	{Argument: Argument{
		Name: "LXC_TTY_MAX", Type: Number, Default: "`8`",
		Effect: "`lxc.tty.max`", Doc: "how many consoles the container gets",
	}},
	{Argument: Argument{
		Name: "PVR_LXC_CGROUP_DEVICES_WHITE", Type: List, Default: "all devices",
		Effect: "`lxc.cgroup.devices.deny = a`, then one `lxc.cgroup.devices.allow` each",
		Doc:    "the only devices that the container may use, such as `c 1:3 rwm`",
	}, check: checkDevices},
	{Argument: Argument{
		Name: "PVR_LXC_CGROUP_V1", Type: List,
		Effect: "one line `lxc.cgroup.<entry>` each",
		Doc:    "limits of cgroup v1, such as `memory.limit_in_bytes = 64M`",
	}, check: checkCgroupLines},
	{Argument: Argument{
		Name: "PV_AUTOMODFW", Type: Bool, Default: "yes",
		Effect: "run.json `automodfw`: `yes` or `no`",
		Doc:    "whether the device's kernel modules and firmware are mounted into the container",
	}},
	{Argument: Argument{
		Name: "PV_AUTO_RECOVERY", Type: Object, Default: "what the group says", Since: "047",
		Effect: "run.json `auto_recovery`",
		Doc: "what to do when the container ends: `policy` (no, always, on-failure, unless-stopped), `max_retries`, `retry_delay`, " +
			"`reset_window`, `stable_timeout` (whole seconds or counts), `backoff_factor`, `backoff_policy` (reboot, never, or a time such as 30s, 10min, 1h)",
	}, check: checkRecovery},
	{Argument: Argument{
		Name: "PV_CONDITIONS", Type: AnyValue,
		Effect: "run.json `conditions`", Doc: "conditions for the start; today's devices do not read them",
	}},
	{Argument: Argument{
		Name: "PV_DEBUG_MODE", Type: Bool, Default: "no",
		Effect: "`lxc.log.file = /pv/logs/<name>.log`", Doc: "write LXC's own log",
	}},
	{Argument: Argument{
		Name: "PV_DISABLE_AUTODEV", Type: Bool, Default: "no",
		Effect: "`lxc.autodev = 0`", Doc: "do not let LXC fill /dev",
	}},
	{Argument: Argument{
		Name: "PV_DRIVERS_MANUAL", Type: List, Default: "none",
		Effect: "run.json `drivers.manual`", Doc: "drivers that the container loads by itself through the control socket",
	}, check: checkDrivers},
	{Argument: Argument{
		Name: "PV_DRIVERS_OPTIONAL", Type: List, Default: "none",
		Effect: "run.json `drivers.optional`", Doc: "drivers that are loaded before the start if the device has them",
	}, check: checkDrivers},
	{Argument: Argument{
		Name: "PV_DRIVERS_REQUIRED", Type: List, Default: "none",
		Effect: "run.json `drivers.required`", Doc: "drivers without which the container does not start",
	}, check: checkDrivers},
	{Argument: Argument{
		Name: "PV_EXTRA_VOLUMES", Type: TextList,
		Effect: "run.json `volumes`", Doc: "more images of the container to be mounted below /volumes",
	}, check: checkVolumeNames},
	{Argument: Argument{
		Name: "PV_FILEIMPORTS", Type: PairList,
		Effect: "`lxc.mount.entry` binding `/exports/<from>` on `<to>`",
		Doc:    "files that other containers export",
	}},
	{Argument: Argument{
		Name: "PV_GROUP", Type: Text, Default: "the device chooses",
		Effect: "run.json `group`", Doc: "the group of containers that this one belongs to",
	}, check: checkWord},
	{Argument: Argument{
		Name: "PV_IMPORT_CONFIGVOLUMES", Type: PairList,
		Effect: "`lxc.mount.entry` binding `/volumes/<from>/<name>` on `<to>`, optional and noexec",
		Doc:    "configuration volumes that another container keeps for this one",
	}},
	{Argument: Argument{
		Name: "PV_LXC_CAP_DROP", Type: List, Default: "none",
		Effect: "one `lxc.cap.drop` each, in lower case", Doc: "capabilities to take away; not together with PV_LXC_CAP_KEEP",
	}, check: checkCapabilities},
	{Argument: Argument{
		Name: "PV_LXC_CAP_KEEP", Type: List, Default: "all",
		Effect: "one `lxc.cap.keep` each, in lower case", Doc: "the only capabilities to keep",
	}, check: checkCapabilities},
	{Argument: Argument{
		Name: "PV_LXC_DISABLE_CONSOLE", Type: Bool, Default: "no",
		Effect: "`lxc.console.path = none`", Doc: "no console",
	}},
	{Argument: Argument{
		Name: "PV_LXC_EXTRA_CONF", Type: RawText,
		Effect: "appended to lxc.container.conf as it is", Doc: "lines `lxc.key = value` for what has no argument",
	}, check: checkExtraConf},
	{Argument: Argument{
		Name: "PV_LXC_EXTRA_ENV", Type: List,
		Effect: "one `lxc.environment` each, after those of the image", Doc: "environment variables, `NAME=value`",
	}, check: checkEnvironment},
	{Argument: Argument{
		Name: "PV_LXC_NAMESPACE_KEEP", Type: Text, Default: "`user  net  ipc`",
		Effect: "`lxc.namespace.keep`, the whole of it", Doc: "the namespaces shared with the device",
	}, check: checkNamespaces},
	{Argument: Argument{
		Name: "PV_LXC_NETWORK_IPV4_ADDRESS", Type: Text, Default: "none",
		Effect: "`lxc.net.0.ipv4.address`", Doc: "the container's address on the bridge, for network type veth",
	}, check: checkIPv4},
	{Argument: Argument{
		Name: "PV_LXC_NETWORK_IPV4_GATEWAY", Type: Text, Default: "`auto`, if there is an address",
		Effect: "`lxc.net.0.ipv4.gateway`", Doc: "the default route: an address, `auto` or `dev`",
	}, check: checkGateway},
	{Argument: Argument{
		Name: "PV_LXC_NETWORK_LINK", Type: Text,
		Effect: "`lxc.net.0.link`", Doc: "the device's interface that moves into the container, for network type phys",
	}, check: checkInterface},
	{Argument: Argument{
		Name: "PV_LXC_NETWORK_TYPE", Type: Choice, Values: []string{"host", "empty", "phys", "veth"}, Default: "host",
		Effect: "`lxc.net.0.*`; anything but host takes `net` out of `lxc.namespace.keep`",
		Doc:    "host: the device's network; empty: only loopback; phys: one interface of the device; veth: the bridge lxcbr0",
	}},
	{Argument: Argument{
		Name: "PV_NETWORK_HOSTNAME", Type: Text, Default: "the container's name", Since: "050",
		Effect: "run.json `network.hostname`", Doc: "the name in the pool's network",
	}, check: checkHostname},
	{Argument: Argument{
		Name: "PV_NETWORK_IP", Type: Text, Default: "the pool chooses", Since: "050",
		Effect: "run.json `network.ip`", Doc: "a fixed IPv4 address out of the pool",
	}, check: checkAddress},
	{Argument: Argument{
		Name: "PV_NETWORK_MAC", Type: Text, Default: "generated", Since: "050",
		Effect: "run.json `network.mac`", Doc: "a fixed hardware address",
	}, check: checkMAC},
	{Argument: Argument{
		Name: "PV_NETWORK_POOL", Type: Text, Default: "none", Since: "050",
		Effect: "run.json `network`", Doc: "the address pool of device.json that gives the container its network",
	}, check: checkPool},
	{Argument: Argument{
		Name: "PV_REMOUNT", Type: Object,
		Effect: "run.json `remount`", Doc: "mounts to change after the start: for each policy a list of {\"<path>\": \"<options>\"}",
	}, check: checkRemount},
	{Argument: Argument{
		Name: "PV_RESOLV_CONF_DISABLE", Type: Bool, Default: "no",
		Effect: "no mount of /etc/resolv.conf", Doc: "leave the container's own resolv.conf alone",
	}},
	{Argument: Argument{
		Name: "PV_RESOLV_CONF_PATH", Type: Text, Default: "`etc/resolv.conf`",
		Effect: "target of that mount", Doc: "where the device's resolv.conf appears",
	}},
	{Argument: Argument{
		Name: "PV_RESTART_POLICY", Type: Choice, Values: []string{"system", "container"}, Default: "what the group says",
		Effect: "run.json `restart_policy`", Doc: "whether a change or an end of the container restarts the device or only the container",
	}},
	{Argument: Argument{
		Name: "PV_ROLES", Type: List, Values: roleNames, Default: "mgmt",
		Effect: "run.json `roles`", Doc: "mgmt: may use the whole control socket; nobody: may not",
	}, check: checkRoles, emptyCounts: true},
	{Argument: Argument{
		Name: "PV_RUNLEVEL", Type: Choice, Values: []string{"data", "root", "platform", "app"},
		Effect: "run.json `runlevel`; data leaves out lxc.container.conf", Doc: "the older word for the group",
		Deprecated: "use PV_GROUP, and PV_STATUS_GOAL=MOUNTED for data",
	}},
	{Argument: Argument{
		Name: "PV_RUN_TMPFS_DISABLE", Type: Bool, Default: "no",
		Effect: "no mount on /run", Doc: "do not put a tmpfs on /run",
	}},
	{Argument: Argument{
		Name: "PV_RUN_TMPFS_PATH", Type: Text, Default: "`run`",
		Effect: "target of that mount", Doc: "where the tmpfs appears",
	}},
	{Argument: Argument{
		Name: "PV_SECURITY_FULLDEV", Type: Bool, Default: "no",
		Effect: "`lxc.mount.entry` binding /dev on dev", Doc: "show all devices",
	}},
	{Argument: Argument{
		Name: "PV_SECURITY_WITH_HOST", Type: Bool, Default: "no",
		Effect: "`lxc.mount.entry` binding / on host", Doc: "show the device's whole file system",
	}},
	{Argument: Argument{
		Name: "PV_SECURITY_WITH_HOSTPROC", Type: Bool, Default: "no",
		Effect: "`lxc.mount.entry` binding /proc on host/proc", Doc: "show the device's processes",
	}},
	{Argument: Argument{
		Name: "PV_SECURITY_WITH_STORAGE", Type: Bool, Default: "no",
		Effect: "`lxc.mount.entry` binding /storage on storage", Doc: "show Pantavisor's storage",
	}},
	{Argument: Argument{
		Name: "PV_SERVICES_OPTIONAL", Type: Services, Default: "none", Since: "047",
		Effect: "run.json `services.optional`", Doc: "services of other containers to connect to if they exist; keys: name, type, role, interface, target",
	}},
	{Argument: Argument{
		Name: "PV_SERVICES_REQUIRED", Type: Services, Default: "none", Since: "047",
		Effect: "run.json `services.required`", Doc: "services without which the revision does not run; keys as above",
	}},
	{Argument: Argument{
		Name: "PV_STATUS_GOAL", Type: Choice, Values: []string{"MOUNTED", "STARTED", "READY"}, Default: "what the group says",
		Effect: "run.json `status_goal`; MOUNTED leaves out lxc.container.conf", Doc: "how far the container must get for an update to succeed",
	}},
	{Argument: Argument{
		Name: "PV_VOLUME_IMPORTS", Type: List,
		Effect: "`lxc.mount.entry` binding `/volumes/<container>/docker-<volume>[/<sub>]` on the target",
		Doc:    "persistent folders of other containers: `container:[sub@]volume:target[:mode]`, mode rw unless given",
	}},
	{Argument: Argument{
		Name: "PV_VOLUME_MOUNTS", Type: PairList,
		Effect: "run.json `volumes`, and `lxc.mount.entry` binding `/volumes/<name>/<from>` on `<to>`",
		Doc:    "more images of the container, mounted into it",
	}},
}
