package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/kas/menu"
	"github.com/pvkit/pvkit/kconfig"
)

// maxMenuFile bounds a .config.yaml that is read.
const maxMenuFile = 16 << 20

// menuFlags are those of the commands that read and write .config.yaml.
type menuFlags struct {
	kconfigFlags
	workDir, sourceDir string
}

func (m *menuFlags) register(c *cobra.Command) {
	m.kconfigFlags.register(c)
	m.registerSet(c)
	m.registerFrom(c, " (default: the one in the work directory, if it is there)")
	m.registerDialect(c)
	f := c.Flags()
	f.StringVar(&m.workDir, "work-dir", "", "the `directory` that "+menu.FileName+" is in (default: KAS_WORK_DIR, or the project's directory)")
	f.StringVar(&m.sourceDir, "source-dir", "", "what to write as _source_dir (default: the root of the git repository around the Kconfig file)")
}

// menuState is a Kconfig file with the values that a .config.yaml and --set
// gave it.
type menuState struct {
	conf    *kconfig.Config
	dialect kas.Dialect
	why     string // how the dialect was guessed
	file    string // where the result belongs
	old     *kas.Value
	source  string
	host    string
}

// open loads the Kconfig file and what was chosen before.
func (m *menuFlags) open(env Env) (*menuState, error) {
	tree, _, err := m.load()
	if err != nil {
		return nil, err
	}
	s := &menuState{conf: tree.New(), host: env.Getenv("_KAS_REPO_DIR_HOST")}
	if s.dialect, s.why, err = m.kasDialect(tree); err != nil {
		return nil, err
	}
	s.file = filepath.Join(cmp.Or(m.workDir, env.Getenv("KAS_WORK_DIR"), m.dir), menu.FileName)
	if s.old, err = readMenuFile(s.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	start := s.old
	if m.from != "" {
		if start, err = readMenuFile(m.from); err != nil {
			return nil, err
		}
	}
	if start != nil {
		if err := restore(env, s.conf, start); err != nil {
			return nil, err
		}
	}
	if err := m.apply(s.conf); err != nil {
		return nil, err
	}
	if s.source = m.sourceDir; s.source != "" {
		return s, nil
	}
	s.source, err = m.repositoryRoot()
	return s, err
}

// restore sets what a .config.yaml chose. What no longer fits is said and left
// out.
func restore(env Env, conf *kconfig.Config, file *kas.Value) error {
	found, err := menu.Apply(conf, file)
	if err != nil {
		return err
	}
	for _, d := range found {
		fmt.Fprintln(env.Stderr, d)
	}
	return nil
}

// readMenuFile reads a .config.yaml.
func readMenuFile(name string) (*kas.Value, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxMenuFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(src) > maxMenuFile {
		return nil, fmt.Errorf("read %s: more than %d bytes", name, maxMenuFile)
	}
	v, err := kas.ParseYAML(shortName(name), src)
	if err != nil {
		return nil, err
	}
	if v.Kind != kas.Map {
		return nil, fmt.Errorf("%s: want a mapping, as kas menu writes it", name)
	}
	return v, nil
}

// repositoryRoot is the git repository around the Kconfig file: that of the
// superproject for a submodule, and the file's directory where there is none.
func (m *menuFlags) repositoryRoot() (string, error) {
	_, name, err := m.find()
	if err != nil {
		return "", err
	}
	file := m.file
	if !filepath.IsAbs(file) {
		file = filepath.Join(m.dir, filepath.FromSlash(name))
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	start := filepath.Dir(abs)
	for dir := start; ; dir = filepath.Dir(dir) {
		git := filepath.Join(dir, ".git")
		if info, err := os.Stat(git); err == nil {
			link := ""
			if info.Mode().IsRegular() {
				if link, err = readHead(git); err != nil {
					return "", err
				}
			}
			if !strings.Contains(filepath.ToSlash(link), "/.git/modules/") {
				return dir, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return start, nil
		}
	}
}

// content is the file that kas menu would write.
func (s *menuState) content() (*kas.Value, string, error) {
	sel, err := menu.Select(s.conf, s.dialect)
	if err != nil {
		return nil, "", err
	}
	sel.HostDir = s.host
	return sel.Config(s.source), sel.File(s.source), nil
}

// save writes the file as kas menu does: not at all when it says the same
// already, and with the one of before kept as .old.
func (s *menuState) save() (changed bool, err error) {
	v, text, err := s.content()
	if err != nil {
		return false, err
	}
	if s.old != nil && kas.Equal(v, s.old) {
		return false, nil
	}
	if old, err := os.ReadFile(s.file); err == nil {
		if err := atomicfile.WriteFile(s.file+".old", old, 0o644); err != nil {
			return false, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := atomicfile.WriteFile(s.file, []byte(text), 0o644); err != nil {
		return false, err
	}
	s.old = v
	return true, nil
}

// saveAndSay saves the file and prints what became of it.
func (s *menuState) saveAndSay(env Env, more string) error {
	changed, err := s.save()
	if err != nil {
		return symbolFinding(env.Stderr, err)
	}
	state := "wrote"
	if !changed {
		state = "nothing to change in"
	}
	_, err = fmt.Fprintf(env.Stdout, "%s %s%s\n", state, s.file, more)
	return err
}

func kconfigConfigCommand(env Env) *cobra.Command {
	var m menuFlags
	var write bool
	c := &cobra.Command{
		Use:   "config",
		Short: "Write and read .config.yaml as kas menu does",
		Long: `Print the .config.yaml that kas menu would save, byte for byte, starting from
the one that is there; --write saves it: nothing is written when it says the
same already, and the file of before is kept as .config.yaml.old.

There are two dialects: "stock" is kas 5.4, "pantacor" the fork of kas 4.5 in
Pantavisor's build container, whose menu knows KAS_LOCAL_* symbols. Without
--dialect it is guessed from the Kconfig file, and said on standard error.
` + kconfigHelp,
		Example: `  pvkit kconfig config --set MACHINE_RPI=y
  pvkit kconfig config --set FEATURE_XCONNECT=n --write && kas build`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			s, err := m.open(env)
			if err != nil {
				return err
			}
			if s.why != "" {
				fmt.Fprintf(env.Stderr, "pvkit: written for the %s dialect of kas: %s\n", s.dialect, s.why)
			}
			if !write {
				_, text, err := s.content()
				if err != nil {
					return symbolFinding(env.Stderr, err)
				}
				_, err = io.WriteString(env.Stdout, text)
				return err
			}
			return s.saveAndSay(env, "")
		},
	}
	m.register(c)
	c.Flags().BoolVarP(&write, "write", "w", false, "save the file")
	return c
}

// symbolFinding reports a symbol that kas menu cannot write as a finding.
func symbolFinding(w io.Writer, err error) error {
	bad, ok := errors.AsType[*menu.TypeError](err)
	if !ok {
		return err
	}
	return printFindings(w, []diag.Diagnostic{{
		Pos: bad.Symbol.Pos(), Severity: diag.Error, Rule: kconfig.RuleKasType, Message: bad.Symbol.Name + " " + bad.Msg,
	}})
}
