package logs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Outputs is a set of places to write to, with the numbers of
// PV_LOG_SERVER_OUTPUTS.
type Outputs int

// The outputs.
const (
	OutputNull             Outputs = 1 << iota
	OutputSingleFile               // <rev>/pv.log, a JSON object a line
	OutputFileTree                 // a file for each source
	OutputStdout                   // everything
	OutputStdoutContainers         // what is not of the runtime itself
	OutputStdoutPantavisor         // what is
	OutputStdoutDirect             // the runtime itself and the consoles
	OutputUpdate                   // errors while an update runs
)

// Config is what may change while the server runs, usually with the settings.
type Config struct {
	Level   Level   // what is less severe is dropped
	Outputs Outputs // where to
	// MaxSize is what a revision's logs may have in bytes. A file that has
	// reached MaxSize/Hysteresis/Rotate is compressed away; when all have
	// reached nine tenths of MaxSize, the oldest archives go until
	// MaxSize-MaxSize/Hysteresis are left.
	MaxSize    int64
	Hysteresis int
	Rotate     int
	// Time formats as the PV_LOG_*_TIMESTAMP_FORMAT settings have them, such
	// as "strftime:%F %T" or "golang:RFC1123Z". Empty means none.
	FileTreeTime, SingleFileTime, StdoutTime string
	// Absolute makes the seconds of a line those since 1970 instead of those
	// since the machine started.
	Absolute bool
}

// DefaultConfig is that of the appengine.
func DefaultConfig() Config {
	return Config{Level: Debug, Outputs: OutputFileTree | OutputUpdate, MaxSize: 1<<31 - 1, Hysteresis: 4, Rotate: 5}
}

// limits are the sizes that follow from a Config.
type limits struct {
	rotate    int64 // a file of this size is compressed
	high, low int64 // deletion begins and ends
}

func (c Config) limits() limits {
	gap := c.MaxSize / int64(max(c.Hysteresis, 1))
	return limits{
		rotate: max(gap/int64(max(c.Rotate, 1)), 1),
		high:   c.MaxSize / 10 * 9,
		low:    c.MaxSize - gap,
	}
}

// FileSystem is the size of the file system that a directory is on, and whether
// it is in memory: what settings.Table.LogLimit asks for.
func FileSystem(dir string) (total int64, tmpfs bool, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false, fmt.Errorf("size of the file system of %s: %w", dir, err)
	}
	return int64(st.Blocks) * int64(st.Bsize), int64(st.Type) == unix.TMPFS_MAGIC, nil
}
