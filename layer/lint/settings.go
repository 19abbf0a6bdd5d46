package lint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/pvkit/pvkit/internal/diag"
)

// SettingsFile is the name of the configuration file of a project.
const SettingsFile = ".pvkit.yaml"

// Settings is the content of .pvkit.yaml. Paths in it are relative to its
// directory.
type Settings struct {
	// OECore is oe-core's layer (poky's meta), Layers further layers that are
	// used and not looked at, Build a build directory.
	OECore string   `yaml:"oe-core"`
	Layers []string `yaml:"layers"`
	Build  string   `yaml:"build"`
	// Rules sets severities by rule: error, warning, note or off.
	Rules map[string]string `yaml:"rules"`
	// Paths turns rules off for files.
	Paths []PathSettings `yaml:"paths"`
	// Exclude lists files and directories that are not read at all.
	Exclude []string `yaml:"exclude"`
	// Features lists, for a variable such as PANTAVISOR_FEATURES, names that
	// are right although nothing in the project sets or tests them.
	Features map[string][]string `yaml:"features"`
	// Baseline is a file of findings that are known.
	Baseline string `yaml:"baseline"`
}

// PathSettings turns rules off for the files that match Path; "**" stands for
// any number of directories. Ignore may hold "all".
type PathSettings struct {
	Path   string   `yaml:"path"`
	Ignore []string `yaml:"ignore"`
}

// ParseSettings reads .pvkit.yaml. Unknown keys and rules are errors.
func ParseSettings(r io.Reader) (*Settings, error) {
	data, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return nil, err
	}
	s := &Settings{}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(s); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var ids []string
	for _, r := range Rules() {
		ids = append(ids, r.ID)
	}
	check := func(id string) error {
		if slices.Contains(ids, id) {
			return nil
		}
		hint := ""
		if near := diag.Nearest(id, ids); near != "" {
			hint = "; did you mean " + near + "?"
		}
		return fmt.Errorf("there is no rule %q%s", id, hint)
	}
	for id, sev := range s.Rules {
		if err := check(id); err != nil {
			return nil, err
		}
		if _, _, err := severity(sev); err != nil {
			return nil, fmt.Errorf("rule %s: %w", id, err)
		}
	}
	for _, p := range s.Paths {
		for _, id := range p.Ignore {
			if id != "all" {
				if err := check(id); err != nil {
					return nil, err
				}
			}
		}
		if _, err := path.Match(strings.ReplaceAll(p.Path, "**", "*"), "x"); err != nil {
			return nil, fmt.Errorf("path %q: %w", p.Path, err)
		}
	}
	return s, nil
}

// severity reads a severity; on is false for "off".
func severity(word string) (s diag.Severity, on bool, err error) {
	switch word {
	case "error":
		return diag.Error, true, nil
	case "warning":
		return diag.Warning, true, nil
	case "note":
		return diag.Note, true, nil
	case "off":
		return 0, false, nil
	}
	return 0, false, fmt.Errorf("severity %q: want error, warning, note or off", word)
}

// severityOf is what a rule's findings weigh here.
func (s *Settings) severityOf(r *Rule) (diag.Severity, bool) {
	if word, ok := s.Rules[r.ID]; ok {
		if sev, on, err := severity(word); err == nil {
			return sev, on
		}
	}
	return r.Severity, true
}

// ignores reports whether a rule is off for a file, given by its path below
// the root.
func (s *Settings) ignores(rule, name string) bool {
	return slices.ContainsFunc(s.Paths, func(p PathSettings) bool {
		return matchPath(p.Path, name) && (slices.Contains(p.Ignore, rule) || slices.Contains(p.Ignore, "all"))
	})
}

func (s *Settings) excluded(root, name string) bool {
	rel := strings.TrimPrefix(strings.TrimPrefix(name, root), "/")
	return slices.ContainsFunc(s.Exclude, func(p string) bool { return matchPath(p, rel) })
}

// matchPath matches segment by segment; "**" matches any number of them. A
// pattern that names a directory matches what is in it.
func matchPath(pattern, name string) bool {
	return matchSegments(strings.Split(strings.Trim(pattern, "/"), "/"), strings.Split(name, "/"))
}

func matchSegments(pattern, name []string) bool {
	if len(pattern) == 0 {
		return true
	}
	if pattern[0] == "**" {
		for i := range len(name) + 1 {
			if matchSegments(pattern[1:], name[i:]) {
				return true
			}
		}
		return false
	}
	if len(name) == 0 {
		return false
	}
	ok, err := path.Match(pattern[0], name[0])
	return err == nil && ok && matchSegments(pattern[1:], name[1:])
}
