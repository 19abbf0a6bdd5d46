// Package menu is the way from Kconfig to kas: what a set of Kconfig values
// means to kas (Select), the .config.yaml that `kas menu` writes for it, and
// the values that such a file holds (Apply).
package menu

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/kconfig"
)

// Selection is what kas reads off a Kconfig (plugins/menu.py, save_config).
type Selection struct {
	Includes    []string // of KAS_INCLUDE_*, in the order of the symbols
	Targets     []string // of KAS_TARGET_*
	BuildSystem string   // of KAS_BUILD_SYSTEM
	// Vars are lines of local.conf, one for each other string and number.
	Vars []string
	// Locals are raw lines of local.conf, of KAS_LOCAL_*. Only the fork has
	// them; stock kas makes variables of them, which nobody reads.
	Locals []string

	// HostDir is the root of the project outside of kas' container, which the
	// container passes on in _KAS_REPO_DIR_HOST; "" without a container.
	HostDir string

	dialect kas.Dialect
	values  []*kas.Value // of menu_configuration: names and values in turn
}

// TypeError is a symbol whose type kas cannot use.
type TypeError struct {
	Symbol *kconfig.Symbol
	Msg    string
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("%s: %s %s", e.Symbol.Pos(), e.Symbol.Name, e.Msg)
}

// Select works out what the values of c mean to kas. The error is a
// *TypeError.
func Select(c *kconfig.Config, d kas.Dialect) (*Selection, error) {
	s := &Selection{dialect: d}
	for _, sym := range c.Tree().Symbols {
		if !sym.Defined() || c.Eval(sym.DirectDep()) != kconfig.Y {
			continue
		}
		value := c.Str(sym)
		if c.Visibility(sym) == kconfig.Y {
			v, err := menuValue(sym, value)
			if err != nil {
				return nil, err
			}
			s.values = append(s.values, kas.NewString(sym.Name), v)
		}
		if err := s.symbol(sym, value); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// menuValue is a value as menu_configuration holds it.
func menuValue(sym *kconfig.Symbol, value string) (*kas.Value, error) {
	base := 10
	switch sym.Type { // kas knows no others, and stops
	case kconfig.Bool:
		return kas.NewBool(value == "y"), nil
	case kconfig.String:
		return kas.NewString(value), nil
	case kconfig.Int:
	case kconfig.Hex:
		base = 16
	default:
		return nil, &TypeError{sym, fmt.Sprintf("is of type %s, which kas menu does not know", sym.Type)}
	}
	n, ok := integer(value, base)
	if !ok {
		return nil, &TypeError{sym, fmt.Sprintf("has the value %q, which is no number: kas menu stops there; give it a default", value)}
	}
	return &kas.Value{Kind: kas.Int, Text: n}, nil
}

// integer reads a number as Python's int(text, base) does, and writes it in
// decimal.
func integer(text string, base int) (string, bool) {
	text = strings.TrimSpace(text)
	digits := strings.TrimLeft(text, "+-")
	negative := strings.HasPrefix(text, "-")
	if len(text)-len(digits) > 1 {
		return "", false
	}
	if base == 16 && len(digits) > 2 && strings.EqualFold(digits[:2], "0x") {
		digits = digits[2:]
	}
	n, ok := new(big.Int).SetString(digits, base)
	if !ok || n.Sign() < 0 || strings.HasPrefix(digits, "+") {
		return "", false
	}
	if negative {
		n.Neg(n)
	}
	return n.String(), true
}

// symbol puts a symbol where its name sends it.
func (s *Selection) symbol(sym *kconfig.Symbol, value string) error {
	local := strings.HasPrefix(sym.Name, kconfig.LocalPrefix) && s.dialect == kas.Pantacor
	include, target := strings.HasPrefix(sym.Name, kconfig.IncludePrefix), strings.HasPrefix(sym.Name, kconfig.TargetPrefix)
	special := include || target || sym.Name == kconfig.BuildSystemName
	if (special || local) && sym.Type != kconfig.String {
		return &TypeError{sym, fmt.Sprintf("must be a string, and is %s: kas menu stops there", sym.Type)}
	}
	switch {
	case (special || local) && value == "":
	case include:
		s.Includes = append(s.Includes, value)
	case target:
		s.Targets = append(s.Targets, value)
	case special:
		s.BuildSystem = value
	case local:
		s.Locals = append(s.Locals, value)
	case sym.Type == kconfig.String || sym.Type == kconfig.Int || sym.Type == kconfig.Hex:
		s.Vars = append(s.Vars, fmt.Sprintf("%s = \"%s\"", sym.Name, value))
	}
	return nil
}

// Config is the configuration that the menu writes. sourceDir is the root of
// the repository of the Kconfig file; kas writes an absolute path, and up to
// 3.1 none ("" here).
func (s *Selection) Config(sourceDir string) *kas.Value {
	str := kas.NewString
	list := func(words []string) *kas.Value {
		items := make([]*kas.Value, len(words))
		for i, w := range words {
			items[i] = str(w)
		}
		return kas.NewList(items...)
	}
	out := []*kas.Value{
		str("header"), kas.NewMap(str("version"), kas.NewInt(int64(s.dialect.MaxVersion())), str("includes"), list(s.Includes)),
		str("menu_configuration"), kas.NewMap(s.values...),
	}
	if sourceDir != "" {
		out = append(out, str("_source_dir"), str(sourceDir))
	}
	if s.HostDir != "" {
		out = append(out, str("_source_dir_host"), str(s.HostDir))
	}
	if s.BuildSystem != "" {
		out = append(out, str("build_system"), str(s.BuildSystem))
	}
	if len(s.Targets) > 0 {
		out = append(out, str("target"), list(s.Targets))
	}
	var blocks []*kas.Value
	switch {
	case s.dialect == kas.Pantacor && len(s.Vars)+len(s.Locals) > 0:
		// The fork writes both as soon as one has content.
		blocks = []*kas.Value{str("__menu_config_vars"), str(strings.Join(s.Vars, "\n")), str("__menu_config_locals"), str(strings.Join(s.Locals, "\n"))}
	case len(s.Vars) > 0:
		blocks = []*kas.Value{str("__menu_config_vars"), str(strings.Join(s.Vars, "\n"))}
	}
	if blocks != nil {
		out = append(out, str("local_conf_header"), kas.NewMap(blocks...))
	}
	return kas.NewMap(out...)
}

// File is the .config.yaml that the menu writes.
func (s *Selection) File(sourceDir string) string { return s.dialect.MenuFile(s.Config(sourceDir)) }

// Rules of the findings of Apply.
const (
	RuleUnknown = "menu-unknown-symbol" // no Kconfig file defines the name
	RuleValue   = "menu-value"          // the symbol cannot have the value
)

// Apply sets the values that the menu_configuration of a .config.yaml holds,
// as the menu does when it starts. Names that the Kconfig does not know and
// values that do not fit are findings, and left out as in kas; the error is a
// menu_configuration that is no mapping.
func Apply(c *kconfig.Config, file *kas.Value) ([]diag.Diagnostic, error) {
	settings := file.Get("menu_configuration")
	if settings != nil && settings.Kind != kas.Map {
		return nil, fmt.Errorf("%s: menu_configuration is a %s, want a mapping of symbols to values", settings.Pos, settings.Kind)
	}
	var found []diag.Diagnostic
	warn := func(pos diag.Position, rule, format string, args ...any) {
		found = append(found, diag.Diagnostic{Pos: pos, Severity: diag.Warning, Rule: rule, Message: fmt.Sprintf(format, args...)})
	}
	for _, e := range settings.Entries() {
		sym := c.Tree().Lookup(e.Key.Text)
		if sym == nil || !sym.Defined() {
			warn(e.Key.Pos, RuleUnknown, "%s is in no Kconfig file: it is ignored", e.Key.Text)
			continue
		}
		value, ok := userValue(sym, e.Value)
		if !ok {
			warn(e.Value.Pos, RuleValue, "%s cannot be a %s: its value is ignored", sym.Name, e.Value.Kind)
			continue
		}
		if err := c.Set(sym.Name, value); err != nil {
			warn(e.Value.Pos, RuleValue, "%v: it is ignored", err)
		}
	}
	return found, nil
}

// userValue turns a value of the file into what Set takes. A bool takes
// anything by its truth in Python.
func userValue(sym *kconfig.Symbol, v *kas.Value) (string, bool) {
	switch sym.Type {
	case kconfig.Bool:
		if truth(v) {
			return "y", true
		}
		return "n", true
	case kconfig.Int:
		return v.Text, v.Kind == kas.Int || v.Kind == kas.String
	case kconfig.Hex: // hex() of Python
		n, ok := new(big.Int).SetString(v.Text, 10)
		if v.Kind != kas.Int || !ok {
			return "", false
		}
		return fmt.Sprintf("%#x", n), true
	}
	return v.Text, v.Kind == kas.String
}

// truth is Python's: what is neither false, 0 nor empty.
func truth(v *kas.Value) bool {
	switch v.Kind {
	case kas.Bool:
		return v.Text == "true"
	case kas.Int:
		return v.Text != "0"
	case kas.Float:
		return strings.Trim(v.Text, "-.0") != ""
	case kas.List:
		return len(v.Items) > 0
	case kas.Map:
		return len(v.Entries()) > 0
	case kas.Null:
		return false
	}
	return v.Text != ""
}

// FileName is the file that kas menu keeps in KAS_WORK_DIR. kas reads it when
// no chain is given.
const FileName = ".config.yaml"

// GuessDialect says which kas a Kconfig file was made for, and why: KAS_LOCAL_*
// symbols mean something in the pantacor fork only.
func GuessDialect(t *kconfig.Tree) (kas.Dialect, string) {
	for _, s := range t.Symbols {
		if s.Defined() && strings.HasPrefix(s.Name, kconfig.LocalPrefix) {
			return kas.Pantacor, fmt.Sprintf("%s is defined at %s", s.Name, s.Pos())
		}
	}
	return kas.Stock, "no " + kconfig.LocalPrefix + "* symbol is defined"
}
