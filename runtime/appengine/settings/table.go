package settings

// row is what the program knows about a setting before anything sets it.
type row struct {
	key     Key
	kind    kind
	allowed Origin // the origins that may set it, as a set
	alias   string // the dotted name of GET /config
	secret  bool   // not to be shown in a log; the API shows it
	defNum  int    // the default of every kind but text
	defText string // the default of a text
	defSet  bool   // a text's default is not null
}

// The sets of origins that the rows below combine.
const (
	pv  = PVConf | Policy | PVCmdline | Env
	ph  = PHConf | Policy | PHCmdline | Env
	oem = OEM
	run = Metadata | Command
)

// rows is the table of pantavisor's config.c, in its order.
var rows = [...]row{
	{key: PHCredsHost, kind: kindText, allowed: ph | oem, alias: "creds.host", defText: "api.pantahub.com", defSet: true},
	{key: PHCredsID, kind: kindText, allowed: ph | oem, alias: "creds.id"},
	{key: PHCredsPort, kind: kindInt, allowed: ph | oem, alias: "creds.port", defNum: 443},
	{key: PHCredsProxyHost, kind: kindText, allowed: ph | oem, alias: "creds.proxy.host"},
	{key: PHCredsProxyNoproxyconnect, kind: kindInt, allowed: ph | oem, alias: "creds.proxy.noproxyconnect"},
	{key: PHCredsProxyPort, kind: kindInt, allowed: ph | oem, alias: "creds.proxy.port", defNum: 3218},
	{key: PHCredsPRN, kind: kindText, allowed: ph | oem, alias: "creds.prn"},
	{key: PHCredsSecret, kind: kindText, allowed: ph | oem, alias: "creds.secret", secret: true},
	{key: PHCredsType, kind: kindText, allowed: ph | oem, alias: "creds.type", defText: "builtin", defSet: true},
	{key: PHFactoryAutotok, kind: kindText, allowed: ph | oem, alias: "factory.autotok", secret: true},
	{key: PHLibeventHTTPTimeout, kind: kindInt, allowed: ph | oem | run, defNum: 60},
	{key: PHLibeventHTTPRetries, kind: kindInt, allowed: ph | oem | run, defNum: 1},
	{key: PHMetadataDevmetaInterval, kind: kindInt, allowed: ph | oem | run, alias: "metadata.devmeta.interval", defNum: 10},
	{key: PHMetadataUsrmetaInterval, kind: kindInt, allowed: ph | oem | run, alias: "metadata.usrmeta.interval", defNum: 5},
	{key: PHOnlineRequestThreshold, kind: kindInt, allowed: ph | oem | run},
	{key: PHUpdaterInterval, kind: kindInt, allowed: ph | oem | run, alias: "updater.interval", defNum: 5},
	{key: PHUpdaterNetworkTimeout, kind: kindInt, allowed: ph | oem | run, alias: "updater.network_timeout", defNum: 120},
	{key: PHUpdaterTransferMaxCount, kind: kindInt, allowed: ph | oem | run, defNum: 5},
	{key: BootloaderFitconfig, kind: kindText, allowed: pv, alias: "bootloader.fitconfig"},
	{key: BootloaderMTDEnv, kind: kindText, allowed: pv, alias: "bootloader.mtd_env"},
	{key: BootloaderMTDOnly, kind: kindBool, allowed: pv, alias: "bootloader.mtd_only"},
	{key: BootloaderType, kind: kindBootloader, allowed: pv, alias: "bootloader.type"},
	{key: BootloaderUbootabAName, kind: kindText, allowed: pv, defText: "fitA", defSet: true},
	{key: BootloaderUbootabBName, kind: kindText, allowed: pv, defText: "fitB", defSet: true},
	{key: BootloaderUbootabEnvName, kind: kindText, allowed: pv},
	{key: BootloaderUbootabEnvBakName, kind: kindText, allowed: pv},
	{key: BootloaderUbootabEnvOffset, kind: kindInt, allowed: pv},
	{key: BootloaderUbootabEnvSize, kind: kindInt, allowed: pv},
	{key: CacheDevmetadir, kind: kindText, allowed: pv, alias: "cache.devmetadir", defText: "/storage/cache/devmeta", defSet: true},
	{key: CacheUsrmetadir, kind: kindText, allowed: pv, alias: "cache.usrmetadir", defText: "/storage/cache/meta", defSet: true},
	{key: ControlRemote, kind: kindBool, allowed: pv | oem, alias: "control.remote", defNum: 1},
	{key: ControlRemoteAlways, kind: kindBool, allowed: pv | oem, alias: "control.remote.always"},
	{key: DebugShell, kind: kindBool, allowed: pv, alias: "debug.shell", defNum: 1},
	{key: DebugShellAutologin, kind: kindBool, allowed: pv, alias: "debug.shell.autologin"},
	{key: DebugShellTimeout, kind: kindInt, allowed: pv, defNum: 60},
	{key: DebugSSH, kind: kindBool, allowed: pv | oem | run, alias: "debug.ssh", defNum: 1},
	{key: DebugSSHAuthorizedKeys, kind: kindText, allowed: pv | oem | run, alias: "debug.ssh_authorized_keys"},
	{key: DiskExportsdir, kind: kindText, allowed: pv, alias: "disk.exportsdir", defText: "/exports", defSet: true},
	{key: DiskVoldir, kind: kindText, allowed: pv, alias: "disk.voldir", defText: "/volumes", defSet: true},
	{key: DiskWritabledir, kind: kindText, allowed: pv, alias: "disk.writabledir", defText: "/writable", defSet: true},
	{key: DropbearCacheDir, kind: kindText, allowed: pv, alias: "dropbear.cache.dir", defText: "/storage/cache/dropbear", defSet: true},
	{key: LibeventDebugMode, kind: kindBool, allowed: pv | oem},
	{key: LibthttpCertsdir, kind: kindText, allowed: pv, alias: "libthttp.certdir", defText: "/certs", defSet: true},
	{key: LibthttpLogLevel, kind: kindInt, allowed: pv | oem | run, alias: "libthttp.log.level", defNum: 3},
	{key: LogAutoDevlog, kind: kindBool, allowed: pv | oem, defNum: 1},
	{key: LogCapture, kind: kindBool, allowed: pv | oem, alias: "log.capture", defNum: 1},
	{key: LogCaptureDmesg, kind: kindBool, allowed: pv | oem, alias: "log.capture.dmesg", defNum: 1},
	{key: LogBufNitems, kind: kindInt, allowed: pv | oem, alias: "log.buf_nitems", defNum: 128},
	{key: LogDir, kind: kindText, allowed: pv, alias: "log.dir", defText: "/storage/logs/", defSet: true},
	{key: LogDirMaxsize, kind: kindText, allowed: pv | oem | run, defText: "0", defSet: true},
	{key: LogFiletreeTimestampFormat, kind: kindText, allowed: pv | oem | run, alias: "log.filetree.timestamp.format"},
	{key: LogHysteresisFactor, kind: kindInt, allowed: pv | oem | run, defNum: 4},
	{key: LogLevel, kind: kindInt, allowed: pv | oem | run, alias: "log.level"},
	{key: LogLoggers, kind: kindBool, allowed: pv | oem, alias: "log.loggers", defNum: 1},
	{key: LogPush, kind: kindBool, allowed: pv | oem | run, alias: "log.push", defNum: 1},
	{key: LogRotateFactor, kind: kindInt, allowed: pv | oem | run, defNum: 5},
	{key: LogServerOutputs, kind: kindOutputs, allowed: pv | oem | run, alias: "log.server.outputs", defNum: 132},
	{key: LogSinglefileTimestampFormat, kind: kindText, allowed: pv | oem | run, alias: "log.singlefile.timestamp.format"},
	{key: LogStdoutTimestampFormat, kind: kindText, allowed: pv | oem | run, alias: "log.stdout.timestamp.format"},
	{key: LogTimestamp, kind: kindTimer, allowed: pv | oem | run},
	{key: LoopIndexBase, kind: kindInt, allowed: pv, defNum: -1},
	{key: LXCLogLevel, kind: kindInt, allowed: pv | oem, alias: "lxc.log.level", defNum: 2},
	{key: NetBraddress4, kind: kindText, allowed: pv | oem, alias: "net.braddress4", defText: "10.0.3.1", defSet: true},
	{key: NetBrdev, kind: kindText, allowed: pv | oem, alias: "net.brdev", defText: "lxcbr0", defSet: true},
	{key: NetBrmask4, kind: kindText, allowed: pv | oem, alias: "net.brmask4", defText: "255.255.255.0", defSet: true},
	{key: OEMName, kind: kindText, allowed: pv},
	{key: PolicyName, kind: kindText, allowed: pv, alias: "policy"},
	{key: PowerMode, kind: kindPowerMode, allowed: pv | oem | run, alias: "power.mode", defNum: 1},
	{key: PowerDevmetaEagerPush, kind: kindBool, allowed: pv | oem | run, alias: "power.devmeta.eager_push"},
	{key: PowerWakeInterval, kind: kindDuration, allowed: pv | oem | run, alias: "power.wake.interval", defNum: 3600},
	{key: PowerWakeRunWindow, kind: kindDuration, allowed: pv | oem | run, alias: "power.wake.run_window"},
	{key: PowerAutosleepSettle, kind: kindDuration, allowed: pv | oem | run, alias: "power.autosleep.settle", defNum: 90},
	{key: PowerWakeMinAwake, kind: kindDuration, allowed: pv | oem | run, alias: "power.wake.min_awake", defNum: 10},
	{key: PowerWakeMaxAwake, kind: kindDuration, allowed: pv | oem | run, alias: "power.wake.max_awake", defNum: 60},
	{key: PowerDevmetaMaxHeld, kind: kindDuration, allowed: pv | oem | run, alias: "power.devmeta.max_held", defNum: 300},
	{key: PowerSysfsDir, kind: kindText, allowed: pv | oem | run, alias: "power.sysfs_dir", defText: "/sys/power", defSet: true},
	{key: RevisionRetries, kind: kindInt, allowed: pv | oem | run, alias: "revision.retries", defNum: 10},
	{key: SecurebootChecksum, kind: kindBool, allowed: pv, alias: "secureboot.checksum", defNum: 1},
	{key: SecurebootHandlers, kind: kindBool, allowed: pv, alias: "secureboot.handlers", defNum: 1},
	{key: SecurebootMode, kind: kindSecureboot, allowed: pv, alias: "secureboot.mode", defNum: 2},
	{key: SecurebootOEMTruststore, kind: kindText, allowed: pv, alias: "PV_SECUREBOOT_OEM_TRUSTORE", defText: "ca-oem-certificates", defSet: true},
	{key: SecurebootTruststore, kind: kindText, allowed: pv, alias: "secureboot.truststore", defText: "ca-certificates", defSet: true},
	{key: StorageDevice, kind: kindText, allowed: pv, alias: "storage.device"},
	{key: StorageFstype, kind: kindText, allowed: pv, alias: "storage.fstype"},
	{key: StorageGCKeepFactory, kind: kindBool, allowed: pv | oem | run, alias: "storage.gc.keep_factory"},
	{key: StorageGCReserved, kind: kindInt, allowed: pv | oem | run, alias: "storage.gc.reserved", defNum: 5},
	{key: StorageGCThresholdDefertime, kind: kindInt, allowed: pv | oem | run, alias: "storage.gc.threshold.defertime", defNum: 600},
	{key: StorageGCThreshold, kind: kindInt, allowed: pv | oem | run, alias: "storage.gc.threshold"},
	{key: StorageLogtempsize, kind: kindText, allowed: pv, alias: "storage.logtempsize"},
	{key: StorageMntpoint, kind: kindText, allowed: pv, alias: "storage.mntpoint"},
	{key: StorageMnttype, kind: kindText, allowed: pv, alias: "storage.mnttype"},
	{key: StorageFirmwareVol, kind: kindBool, allowed: pv},
	{key: StoragePhconfigVol, kind: kindBool, allowed: pv},
	{key: StorageWait, kind: kindInt, allowed: pv, alias: "storage.wait", defNum: 5},
	{key: SystemApparmorProfiles, kind: kindText, allowed: pv, alias: "system.apparmor.profiles"},
	{key: SystemConfdir, kind: kindText, allowed: pv, alias: "system.confdir", defText: "/configs", defSet: true},
	{key: SystemDriversLoadEarlyAuto, kind: kindBool, allowed: pv, alias: "system.drivers.load_early.auto"},
	{key: SystemEtcdir, kind: kindText, allowed: pv, alias: "system.etcdir", defText: "/etc", defSet: true},
	{key: SystemEtcpantavisordir, kind: kindText, allowed: pv, defText: "/etc/pantavisor", defSet: true},
	{key: SystemInitMode, kind: kindInitMode, allowed: pv, alias: "system.init.mode"},
	{key: SystemLibdir, kind: kindText, allowed: pv, alias: "system.libdir", defText: "/lib", defSet: true},
	{key: SystemMediadir, kind: kindText, allowed: pv, alias: "system.mediadir", defText: "/media", defSet: true},
	{key: SystemMountSecurityfs, kind: kindBool, allowed: pv, alias: "system.mount.securityfs"},
	{key: SystemRundir, kind: kindText, allowed: pv, alias: "system.rundir", defText: "/pv", defSet: true},
	{key: SystemDisksdir, kind: kindText, allowed: pv, alias: "system.disksdir", defText: "/run/pantavisor/disks", defSet: true},
	{key: SystemUsrdir, kind: kindText, allowed: pv, alias: "system.usrdir", defText: "/usr", defSet: true},
	{key: UpdaterCommitDelay, kind: kindInt, allowed: pv | oem | run, alias: "updater.commit.delay", defNum: 25},
	{key: UpdaterGoalsTimeout, kind: kindInt, allowed: pv | oem, alias: "updater.goals.timeout", defNum: 120},
	{key: UpdaterUseTmpObjects, kind: kindBool, allowed: pv | oem | run, alias: "updater.use_tmp_objects"},
	{key: VolmountDmExtraArgs, kind: kindText, allowed: pv | oem},
	{key: WDTMode, kind: kindWatchdog, allowed: pv, alias: "wdt.mode", defNum: 1},
	{key: WDTTimeout, kind: kindInt, allowed: pv, alias: "wdt.timeout", defNum: 15},
	{key: XconnectDbusSystembusEnabled, kind: kindBool, allowed: pv | oem, alias: "xconnect.dbus.systembus.enabled", defNum: 1},
}

// otherAliases are names that are read and never written.
var otherAliases = map[string]Key{
	"meta.cache.dir":       CacheUsrmetadir,
	"pantahub.log.push":    LogPush,
	"updater.keep_factory": StorageGCKeepFactory,
}
