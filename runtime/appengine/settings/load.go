package settings

import (
	"bytes"
	"fmt"
	"path"
	"strings"
)

// Sources is what Load reads, the weakest first where two set the same key.
type Sources struct {
	Config     []byte // the pantavisor.config of the installation
	ConfigName string // its name in problems
	// Policy reads the file of the policy that PV_POLICY names,
	// <PV_SYSTEM_ETCPANTAVISORDIR>/policies/<name>.config (paths.c). Nil means
	// that there are none; then naming one is an error, as it is if the file
	// cannot be read.
	Policy  func(file string) ([]byte, error)
	Cmdline string   // words such as pv_log.level=5
	Environ []string // KEY=value, as of os.Environ
}

// Load makes a table and sets what the sources say, in the order of the real
// program: the file, the policy it or a stronger source names, the command
// line, the environment. The hub's credentials come later, by Table.Creds, and
// the revision's file by Table.Read with the origin OEM.
func Load(src Sources) (*Table, []Problem, error) {
	t := New()
	name := src.ConfigName
	if name == "" {
		name = "pantavisor.config"
	}
	if len(src.Config) > maxFile {
		return nil, nil, fmt.Errorf("read settings %s: more than %d bytes", name, maxFile)
	}
	file, problems := parse(name, src.Config)
	line, env := cmdline(src.Cmdline, "pv_"), t.environ(src.Environ)
	problems = append(problems, t.apply(name, file, PVConf)...)

	if policy := policyName(line, env, file); policy != "" {
		if src.Policy == nil {
			return nil, problems, fmt.Errorf("policy %s: there are no policies here", policy)
		}
		data, err := src.Policy(path.Join(t.Text(SystemEtcpantavisordir), "policies", policy+".config"))
		if err != nil {
			return nil, problems, fmt.Errorf("policy %s: %w", policy, err)
		}
		more, err := t.Read("policy "+policy, bytes.NewReader(data), Policy)
		if err != nil {
			return nil, problems, err
		}
		problems = append(problems, more...)
	}
	problems = append(problems, t.apply("command line", line, PVCmdline)...)
	problems = append(problems, t.apply("environment", env, Env)...)
	return t, problems, nil
}

// policyName is the policy of the first source that names one. A name with a
// slash is none.
func policyName(sources ...[]item) string {
	for _, items := range sources {
		for _, it := range items {
			if strings.EqualFold(it.key, string(PolicyName)) || it.key == "policy" {
				if it.text != "" && !strings.Contains(it.text, "/") {
					return it.text
				}
			}
		}
	}
	return ""
}

// Creds sets what the hub's credentials file and the command line's ph_ words
// say. Where the file does not exist, the caller stores CredsFile first and
// passes that, as the real program does: this is why GET /config2 shows
// defaults as "ph conf file".
func (t *Table) Creds(name string, data []byte, line string) ([]Problem, error) {
	problems, err := t.Read(name, bytes.NewReader(data), PHConf)
	if err != nil {
		return nil, err
	}
	return append(problems, t.apply("command line", cmdline(line, "ph_"), PHCmdline)...), nil
}

// CredsFile is the content of the hub's credentials file: every PH_ setting
// that has a value.
func (t *Table) CredsFile() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b []byte
	for _, e := range t.entries {
		if e.allowed&PHConf == 0 || e.kind == kindText && !e.set {
			continue
		}
		b = fmt.Appendf(b, "%s=%s\n", e.key, e.kind.format(e.value))
	}
	return b
}
