package kas

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// Rules of the findings that this package makes while it resolves.
const (
	RuleSyntax  = "kas-syntax"        // not YAML, not JSON
	RuleSchema  = "kas-schema"        // not what kas' schema allows
	RuleVersion = "kas-version"       // header.version is out of range
	RuleInclude = "kas-include"       // an include that cannot be followed
	RuleAside   = "kas-file-relative" // found beside the file, not below the root
	RuleRepo    = "kas-repo"          // a repository that kas refuses
	RuleFloat   = "kas-floating"      // a branch or a tag without a commit
	RuleRefspec = "kas-refspec"       // the deprecated refspec
	RuleLegacy  = "kas-legacy-layer"  // deprecated ways to leave out a layer
	RuleShort   = "kas-short-commit"  // a commit that is not a full hash
)

// FileError is a file that kas refuses, with all that is wrong in it.
type FileError struct {
	Name     string
	Findings []diag.Diagnostic
}

func (e *FileError) Error() string {
	lines := make([]string, len(e.Findings))
	for i, d := range e.Findings {
		lines[i] = fmt.Sprintf("%s: %s", d.Pos, d.Message)
	}
	return strings.Join(lines, "\n")
}

// Findings lists what an error of this package says, as findings; nil for
// errors that say nothing about a file's content.
func Findings(err error) []diag.Diagnostic {
	if e, ok := errors.AsType[*FileError](err); ok {
		return e.Findings
	}
	if e, ok := errors.AsType[*SyntaxError](err); ok {
		return []diag.Diagnostic{e.Diagnostic()}
	}
	if e, ok := errors.AsType[*IncludeError](err); ok {
		return []diag.Diagnostic{{Pos: e.Pos, Severity: diag.Error, Rule: RuleInclude, Message: e.Msg}}
	}
	if e, ok := errors.AsType[*RepoError](err); ok {
		return []diag.Diagnostic{{Pos: e.Pos, Severity: diag.Error, Rule: RuleRepo, Message: e.Msg}}
	}
	return nil
}

// loadFile reads and checks one file (includehandler.py, ConfigFile.load).
// display is its name in messages.
func loadFile(fsys fs.FS, name, display string, d Dialect, s *schema) (*Value, error) {
	ext := extension(name)
	if ext != ".yml" && ext != ".yaml" && ext != ".json" {
		return nil, &FileError{display, []diag.Diagnostic{{Pos: diag.Position{File: display}, Severity: diag.Error,
			Rule: RuleSyntax, Message: "a configuration ends in .yml, .yaml or .json"}}}
	}
	src, err := readLimited(fsys, name)
	if errors.Is(err, errTooLarge) {
		return nil, &SyntaxError{Pos: diag.Position{File: display}, Msg: err.Error()}
	} else if err != nil {
		return nil, err
	}
	parse := ParseYAML
	if ext == ".json" {
		parse = ParseJSON
	}
	v, err := parse(display, src)
	if err != nil {
		return nil, err
	}
	if found := validate(s, v); len(found) > 0 {
		return nil, &FileError{display, found}
	}
	if _, err := version(v, d); err != nil {
		pos := v.Get("header", "version").Pos
		return nil, &FileError{display, []diag.Diagnostic{{Pos: pos, Severity: diag.Error, Rule: RuleVersion, Message: err.Error()}}}
	}
	return v, nil
}

// version checks a file's header.version and returns it.
func version(v *Value, d Dialect) (int, error) {
	hv := v.Get("header", "version")
	if hv.Kind == String {
		// "0.10" passes the schema. The fork takes it for 1; kas 5 takes the
		// highest version of all files and cannot convert it.
		if d == Stock {
			return 0, fmt.Errorf("header.version %q: kas 5 accepts it in the schema and then fails on it; write 1", hv.Text)
		}
		return 1, nil
	}
	digits := hv.Text
	if hv.Kind == Float {
		digits, _ = integral(hv.Text)
	}
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok || !n.IsInt64() || n.Int64() < 1 || n.Int64() > int64(d.MaxVersion()) {
		return 0, fmt.Errorf("header.version is %s: this kas reads 1 to %d", hv.Text, d.MaxVersion())
	}
	return int(n.Int64()), nil
}

var errTooLarge = fmt.Errorf("the file is larger than %d bytes", MaxFileSize)

// readLimited reads a file of at most MaxFileSize bytes.
func readLimited(fsys fs.FS, name string) (src []byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	src, err = io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(src) > MaxFileSize {
		return nil, errTooLarge
	}
	return src, nil
}
