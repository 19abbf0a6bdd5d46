package settings

// Origin says who set a value. The numbers are in the order of precedence and
// are bits, so that a setting can name the origins it accepts.
type Origin int

// The origins, the weakest first.
const (
	Default Origin = 0
	Args    Origin = 1 << (iota - 1)
	PVConf
	PHConf
	PHClient
	Policy
	OEM
	PVCmdline
	PHCmdline
	Env
	Metadata
	Command
)

var originNames = map[Origin]string{
	Default: "default", Args: "args", PVConf: "pv conf file", PHConf: "ph conf file",
	Policy: "policy", OEM: "oem config", PVCmdline: "pv cmdline", PHCmdline: "ph cmdline",
	Env: "env", Metadata: "metadata", Command: "command",
}

// String gives the words of GET /config2. The hub client's own origin has
// none there and is "unknown".
func (o Origin) String() string {
	if name, ok := originNames[o]; ok {
		return name
	}
	return "unknown"
}
