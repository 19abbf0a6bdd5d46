package pvctrl

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Status is what a container or a group has reached. The values are in the
// order in which the runtime compares them: RECOVERING, STOPPING and STOPPED
// stand above every goal.
type Status int

// The statuses, in order.
const (
	StatusNone Status = iota
	StatusInstalled
	StatusMounted
	StatusBlocked
	StatusStarting
	StatusStarted
	StatusReady
	StatusRecovering
	StatusStopping
	StatusStopped
)

var statusNames = [...]string{"NONE", "INSTALLED", "MOUNTED", "BLOCKED", "STARTING",
	"STARTED", "READY", "RECOVERING", "STOPPING", "STOPPED"}

// String gives the word that the API uses.
func (s Status) String() string {
	if s < 0 || int(s) >= len(statusNames) {
		return fmt.Sprintf("Status(%d)", int(s))
	}
	return statusNames[s]
}

// ParseStatus reads the word that the API uses.
func ParseStatus(word string) (Status, error) {
	for i, name := range statusNames {
		if name == word {
			return Status(i), nil
		}
	}
	return StatusNone, fmt.Errorf("%q is not a status", word)
}

// MarshalText writes the word.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word.
func (s *Status) UnmarshalText(text []byte) (err error) {
	*s, err = ParseStatus(string(text))
	return err
}

// Bool is a truth value that travels as the string "true" or "false", as in
// is_stable and user_stopped. A JSON boolean is read too.
type Bool bool

// MarshalJSON writes the string.
func (b Bool) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "\"%t\"", bool(b)), nil }

// UnmarshalJSON reads the string or a boolean.
func (b *Bool) UnmarshalJSON(text []byte) error {
	switch string(bytes.Trim(text, `"`)) {
	case "true":
		*b = true
	case "false":
		*b = false
	default:
		return fmt.Errorf("%s is neither \"true\" nor \"false\"", text)
	}
	return nil
}

// Container is an entry of GET /containers. The order of the fields is the
// order of the keys.
type Container struct {
	Name          string        `json:"name"`
	Group         *string       `json:"group"`
	Status        Status        `json:"status"`
	StatusGoal    Status        `json:"status_goal"`
	RestartPolicy string        `json:"restart_policy"` // system, container or unknown
	Roles         []string      `json:"roles"`          // never nil: a container without a role has []
	AutoRecovery  *AutoRecovery `json:"auto_recovery,omitempty"`
	UserStopped   *Bool         `json:"user_stopped,omitempty"` // only with restart policy container
}

// AutoRecovery is the recovery state of a container whose policy is not "no".
type AutoRecovery struct {
	Policy         string `json:"policy"` // always, on-failure or unless-stopped
	MaxRetries     int    `json:"max_retries"`
	CurrentRetries int    `json:"current_retries"`
	StableTimeout  int    `json:"stable_timeout"` // seconds
	IsStable       Bool   `json:"is_stable"`
	BackoffPolicy  string `json:"backoff_policy"` // reboot, never or a duration's text
}

// Group is an entry of GET /groups.
type Group struct {
	Name          string         `json:"name"`
	StatusGoal    Status         `json:"status_goal"`
	RestartPolicy string         `json:"restart_policy"`
	Status        Status         `json:"status"`
	AutoRecovery  *GroupRecovery `json:"auto_recovery,omitempty"`
}

// GroupRecovery is the default that a group gives to its containers.
type GroupRecovery struct {
	MaxRetries    int    `json:"max_retries"`
	StableTimeout int    `json:"stable_timeout"` // seconds
	BackoffPolicy string `json:"backoff_policy"`
}

// Daemon is an entry of GET /daemons. PID is 0 for one that was never started
// and -1 for one that was stopped.
type Daemon struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Respawn bool   `json:"respawn"`
}

// Object is an entry of GET /objects. The size is a decimal string of bytes.
type Object struct {
	SHA256 string `json:"sha256"`
	Size   string `json:"size"`
}

// Progress is the state of a revision's installation, as GET /steps/{rev}/progress
// answers and as it is stored.
type Progress struct {
	Status    string          `json:"status"` // NEW, QUEUED, DOWNLOADING, INPROGRESS, TESTING, UPDATED, DONE, WONTGO, ERROR
	StatusMsg string          `json:"status-msg"`
	Percent   int             `json:"progress"`
	Retries   int             `json:"retries"`
	Downloads json.RawMessage `json:"downloads,omitempty"`
	Logs      string          `json:"logs,omitempty"`
}

// Step is an entry of GET /steps. Progress is {} where none is stored.
type Step struct {
	Name      string          `json:"name"`
	Date      string          `json:"date"`
	CommitMsg string          `json:"commitmsg"`
	Progress  json.RawMessage `json:"progress"`
}

// Command is the body of POST /commands.
type Command struct {
	Op      string `json:"op"`
	Payload string `json:"payload"`
}

// Setting is an entry of GET /config2.
type Setting struct {
	Key      string `json:"key"`
	Value    string `json:"value"`
	Modified string `json:"modified"` // where the value comes from: default, pv conf file, env, …
}

// Signal is the body of POST /signal.
type Signal struct {
	Type    string `json:"type"`
	Payload string `json:"payload"`
}

// MetaEntry is a key of GET /user-meta or GET /device-meta with its value as it
// was put. The document shows a value that is a JSON object or array as such
// and any other one as a string.
type MetaEntry struct {
	Key   string
	Value string
}

// Driver is an entry of GET /drivers.
type Driver struct {
	Name   string `json:"name"`
	Type   string `json:"type"` // REQUIRED, OPTIONAL or MANUAL
	Status string `json:"status"`
}

// Alias is a member of GET /config: a setting by its legacy dotted name.
type Alias struct {
	Name  string
	Value any // bool, an integer, string, or nil
}

// Wakelocks is GET /wakelocks.
type Wakelocks struct {
	Mode      string    `json:"mode"` // locks, or disabled
	Count     int       `json:"count"`
	Degraded  bool      `json:"degraded"`
	Autosleep bool      `json:"autosleep"`
	Settling  bool      `json:"settling"`
	Polling   bool      `json:"polling"`
	RunWindow bool      `json:"run_window"`
	Held      HeldLocks `json:"held"`
}

// HeldLocks tells which of the runtime's wakelocks are held.
type HeldLocks struct {
	Boot        bool `json:"boot"`
	Update      bool `json:"update"`
	UpdateCheck bool `json:"update_check"`
	DevMeta     bool `json:"devmeta"`
	UserMeta    bool `json:"usrmeta"`
	Shutdown    bool `json:"shutdown"`
	DebugShell  bool `json:"debug_shell"`
	Poll        bool `json:"poll"`
}

// The operations of POST /commands.
const (
	OpUpdateMetadata = "UPDATE_METADATA"
	OpRebootDevice   = "REBOOT_DEVICE"
	OpPoweroffDevice = "POWEROFF_DEVICE"
	OpTryOnce        = "TRY_ONCE"
	OpLocalRun       = "LOCAL_RUN"
	OpLocalRunCommit = "LOCAL_RUN_COMMIT"
	OpLocalApply     = "LOCAL_APPLY"
	OpMakeFactory    = "MAKE_FACTORY"
	OpRunGC          = "RUN_GC"
	OpEnableSSH      = "ENABLE_SSH"
	OpDisableSSH     = "DISABLE_SSH"
	OpGoRemote       = "GO_REMOTE"
	OpDeferReboot    = "DEFER_REBOOT"
	OpUnclaim        = "UNCLAIM"
	OpXConnectGraph  = "XCONNECT_GRAPH"
)
