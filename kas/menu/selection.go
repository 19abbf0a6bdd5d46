// Package menu is the way from Kconfig to kas: what a set of Kconfig values
// means to kas (Select), the .config.yaml that `kas menu` writes for it, and
// the values that such a file holds (Apply).
package menu

import (
	"fmt"
	"strconv"
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
	switch sym.Type {
	case kconfig.Bool:
		return kas.NewBool(value == "y"), nil
	case kconfig.String:
		return kas.NewString(value), nil
	case kconfig.Int:
	case kconfig.Hex:
		base = 16
		value = strings.TrimPrefix(strings.TrimPrefix(value, "0x"), "0X")
	default:
		return nil, &TypeError{sym, fmt.Sprintf("is of type %s, which kas menu does not know", sym.Type)}
	}
	n, err := strconv.ParseInt(value, base, 64)
	if err != nil {
		return nil, &TypeError{sym, fmt.Sprintf("has the value %q, which is no number", value)}
	}
	return kas.NewInt(n), nil
}

// symbol puts a symbol where its name sends it.
func (s *Selection) symbol(sym *kconfig.Symbol, value string) error {
	local := strings.HasPrefix(sym.Name, "KAS_LOCAL_") && s.dialect == kas.Pantacor
	special := strings.HasPrefix(sym.Name, "KAS_INCLUDE_") || strings.HasPrefix(sym.Name, "KAS_TARGET_") || sym.Name == "KAS_BUILD_SYSTEM"
	if (special || local) && sym.Type != kconfig.String {
		return &TypeError{sym, "must be of type string"}
	}
	switch {
	case (special || local) && value == "":
	case strings.HasPrefix(sym.Name, "KAS_INCLUDE_"):
		s.Includes = append(s.Includes, value)
	case strings.HasPrefix(sym.Name, "KAS_TARGET_"):
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
// the repository of the Kconfig file; kas writes an absolute path.
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
		str("_source_dir"), str(sourceDir),
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

// RuleUnknown is a name in menu_configuration that the Kconfig does not have.
const RuleUnknown = "menu-unknown-symbol"

// Apply sets the values that the menu_configuration of a .config.yaml holds,
// as the menu does when it starts. Names that the Kconfig does not know are
// findings; values that do not fit are errors.
func Apply(c *kconfig.Config, file *kas.Value) ([]diag.Diagnostic, error) {
	var found []diag.Diagnostic
	for _, e := range file.Get("menu_configuration").Entries() {
		sym := c.Tree().Lookup(e.Key.Text)
		if sym == nil || !sym.Defined() {
			found = append(found, diag.Diagnostic{Pos: e.Key.Pos, Severity: diag.Warning, Rule: RuleUnknown,
				Message: fmt.Sprintf("%s is in no Kconfig file: it is ignored", e.Key.Text)})
			continue
		}
		value := e.Value.Text
		switch {
		case sym.Type == kconfig.Bool:
			value = "n"
			if truth(e.Value) {
				value = "y"
			}
		case sym.Type == kconfig.Hex && e.Value.Kind == kas.Int:
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return found, fmt.Errorf("%s: %s: %w", e.Value.Pos, sym.Name, err)
			}
			value = fmt.Sprintf("%#x", n)
		}
		if err := c.Set(sym.Name, value); err != nil {
			return found, fmt.Errorf("%s: %w", e.Value.Pos, err)
		}
	}
	return found, nil
}

// truth is Python's: what is neither false, 0 nor empty.
func truth(v *kas.Value) bool {
	switch v.Kind {
	case kas.Bool:
		return v.Text == "true"
	case kas.Int:
		return v.Text != "0"
	case kas.Null:
		return false
	}
	return v.Text != ""
}
