package settings

import "fmt"

// Dirs are the directories of an appengine installation. The zero value of a
// field means that of the appengine's image.
type Dirs struct {
	Storage  string // /var/pantavisor/storage
	Run      string // /run/pantavisor, which holds pv, media, configs and disks
	Writable string // /run/pv/writable
	Lib      string // /usr/lib/pantavisor
	Etc      string // /etc
	Usr      string // /usr
	Volumes  string // /volumes
	Exports  string // /exports
}

// AppengineConfig is the configuration file of an appengine: pass it to Load
// as Sources.Config, or store it for people to edit. It says what
// appengine/pantavisor.config.in says.
func AppengineConfig(d Dirs) []byte {
	or := func(field, image string) string {
		if field == "" {
			return image
		}
		return field
	}
	storage, rundir := or(d.Storage, "/var/pantavisor/storage"), or(d.Run, "/run/pantavisor")
	etc := or(d.Etc, "/etc")
	var b []byte
	for _, l := range [...]struct {
		key  Key
		text string
	}{
		{SystemInitMode, "appengine"},
		{BootloaderType, "uboot"},
		{WDTMode, "disabled"},
		{LogLevel, "4"},
		{LogServerOutputs, "filetree"},
		{LogCaptureDmesg, "0"},
		{SecurebootHandlers, "0"},
		{SecurebootMode, "disabled"},
		{DebugSSH, "1"},
		{ControlRemote, "0"},
		{UpdaterGoalsTimeout, "10"},
		{UpdaterCommitDelay, "5"},
		{StorageMntpoint, storage},
		{SystemLibdir, or(d.Lib, "/usr/lib/pantavisor")},
		{SystemEtcdir, etc},
		{SystemUsrdir, or(d.Usr, "/usr")},
		{SystemRundir, rundir + "/pv"},
		{SystemMediadir, rundir + "/media"},
		{SystemConfdir, rundir + "/configs"},
		{SystemDisksdir, rundir + "/disks"},
		{DropbearCacheDir, storage + "/cache/dropbear"},
		{CacheUsrmetadir, storage + "/cache/usrmeta"},
		{CacheDevmetadir, storage + "/cache/devmeta"},
		{LibthttpCertsdir, etc + "/thttp/certs"},
		{DiskVoldir, or(d.Volumes, "/volumes")},
		{DiskExportsdir, or(d.Exports, "/exports")},
		{DiskWritabledir, or(d.Writable, "/run/pv/writable")},
		{LogDir, storage + "/logs"},
		{LogDirMaxsize, "2147483647"},
		{OEMName, "pv-oem-developer-001"},
	} {
		b = fmt.Appendf(b, "%s=%s\n", l.key, l.text)
	}
	return b
}
