package kas

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pvkit/pvkit/internal/diag"
)

// schema says what a value may be. It holds what kas' schema-kas.json
// demands, in the words of this package.
type schema struct {
	kinds    []Kind             // any, when empty
	props    map[string]*schema // of a mapping
	rest     *schema            // of the other keys; nil forbids them
	required []string
	items    *schema // of a list
	words    []string
	low, top int // of an integer, when top > low
	check    func(*Value) string
}

var (
	anything     = &schema{}
	text         = &schema{kinds: []Kind{String}}
	textOrNull   = &schema{kinds: []Kind{String, Null}}
	texts        = mapOf(text)
	textsOrNulls = mapOf(textOrNull)
)

func mapOf(rest *schema) *schema { return &schema{kinds: []Kind{Map}, rest: rest} }

func object(props map[string]*schema, required ...string) *schema {
	return &schema{kinds: []Kind{Map}, props: props, required: required}
}

func oneOf(words ...string) *schema { return &schema{kinds: []Kind{String}, words: words} }

// schemaOf builds the schema of a dialect.
func schemaOf(d Dialect) *schema {
	props := map[string]*schema{
		"header":               headerSchema(d),
		"build_system":         oneOf("openembedded", "oe", "isar"),
		"machine":              text,
		"distro":               text,
		"env":                  textsOrNulls,
		"target":               {kinds: []Kind{String, List}, items: text},
		"task":                 text,
		"repos":                mapOf(repoSchema(d)),
		"bblayers_conf_header": texts,
		"local_conf_header":    texts,
		"artifacts":            texts,
		"menu_configuration":   mapOf(&schema{kinds: []Kind{Bool, String, Int}}),
		"_source_dir":          text,
		"_source_dir_host":     text,
		"proxy_config":         object(map[string]*schema{"http_proxy": text, "https_proxy": text, "ftp_proxy": text, "no_proxy": text}),
		"defaults": object(map[string]*schema{"repos": object(map[string]*schema{
			"branch": text, "tag": text, "refspec": text,
			"patches": object(map[string]*schema{"repo": text}),
		})}),
		"overrides": object(map[string]*schema{"repos": mapOf(object(map[string]*schema{"commit": text}))}),
	}
	if d == Stock {
		props["build_system"] = oneOf("openembedded", "oe", "isar", "isar-privileged", "isar-rootless")
		props["overrides"] = object(map[string]*schema{"repos": mapOf(object(map[string]*schema{
			"branch": textOrNull, "commit": textOrNull, "url": text}))})
		props["signers"] = mapOf(signerSchema())
		props["buildtools"] = &schema{
			kinds:    []Kind{Map},
			props:    map[string]*schema{"version": text, "sha256sum": text, "base_url": text, "filename": text},
			rest:     anything,
			required: []string{"version", "sha256sum"},
		}
	}
	return object(props, "header")
}

func headerSchema(d Dialect) *schema {
	version := &schema{kinds: []Kind{Int, String}, words: []string{"0.10"}}
	if d == Stock {
		version.low, version.top = 1, d.MaxVersion()
	}
	return object(map[string]*schema{
		"version": version,
		"includes": {kinds: []Kind{List}, items: &schema{
			kinds:    []Kind{String, Map},
			props:    map[string]*schema{"repo": text, "file": text},
			required: []string{"repo", "file"},
		}},
	}, "version")
}

func repoSchema(d Dialect) *schema {
	layer := &schema{kinds: []Kind{Null, Int, Bool, String}}
	ref := text
	props := map[string]*schema{}
	if d == Stock {
		ref = textOrNull
		props["signed"] = &schema{kinds: []Kind{Bool}}
		props["allowed_signers"] = &schema{kinds: []Kind{List}, items: text}
		layer = &schema{
			props: map[string]*schema{"prio": {kinds: []Kind{Int}, low: -99, top: 99}},
			check: checkLayer,
		}
	}
	for name, s := range map[string]*schema{
		"name": text, "url": textOrNull, "type": oneOf("git", "hg"), "commit": text,
		"branch": ref, "tag": ref, "refspec": text, "path": textOrNull,
		"layers": mapOf(layer),
		"patches": mapOf(&schema{
			kinds:    []Kind{Map, Null},
			props:    map[string]*schema{"repo": text, "path": text},
			required: []string{"path"},
		}),
	} {
		props[name] = s
	}
	return &schema{kinds: []Kind{Map, Null}, props: props}
}

// legacyOff are the values by which layers were left out before "disabled".
var legacyOff = []string{"excluded", "n", "no", "0", "false"}

func checkLayer(v *Value) string {
	switch v.Kind {
	case Null, Map:
		return ""
	case String:
		if v.Text == "disabled" || slices.Contains(legacyOff, v.Text) {
			return ""
		}
	case Bool, Int, Float:
		if v.identity() == "n0" {
			return ""
		}
	}
	return fmt.Sprintf("must be null, \"disabled\" or {prio: N}, not %s", show(v))
}

func signerSchema() *schema {
	s := object(map[string]*schema{
		"type": oneOf("gpg", "ssh"), "repo": anything, "path": text, "gpg_keyserver": text,
		"fingerprint": {kinds: []Kind{String}, check: func(v *Value) string {
			if n := utf8.RuneCountInString(v.Text); v.Kind == String && n != 40 && n != 50 {
				return "must have 40 or 50 characters"
			}
			return ""
		}},
	})
	s.check = func(v *Value) string {
		path, server := v.Has("path"), v.Has("gpg_keyserver")
		switch {
		case v.Kind != Map:
		case path == server:
			return "must have either path or gpg_keyserver"
		case path && !v.Has("repo"):
			return "has a path and no repo"
		case server && !v.Has("fingerprint"):
			return "has a gpg_keyserver and no fingerprint"
		case v.Get("type").Str() == "ssh" && !path:
			return "is of type ssh and has no path"
		}
		return ""
	}
	return s
}

// validator collects where a file does not fit the schema. A value that
// aliases share is looked at once per schema.
type validator struct {
	found []diag.Diagnostic
	seen  map[seenKey]bool
}

type seenKey struct {
	v *Value
	s *schema
}

func validate(s *schema, v *Value) []diag.Diagnostic {
	c := validator{seen: map[seenKey]bool{}}
	c.value(s, v, "")
	diag.Sort(c.found)
	return c.found
}

func (c *validator) errorf(pos diag.Position, path, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	if path != "" {
		msg = path + " " + msg
	} else {
		msg = "the file " + msg
	}
	c.found = append(c.found, diag.Diagnostic{Pos: pos, Severity: diag.Error, Rule: RuleSchema, Message: msg})
}

func (c *validator) value(s *schema, v *Value, path string) {
	if c.seen[seenKey{v, s}] {
		return
	}
	c.seen[seenKey{v, s}] = true
	if len(s.kinds) > 0 && !s.accepts(v) {
		names := make([]string, len(s.kinds))
		for i, k := range s.kinds {
			names[i] = k.article()
		}
		c.errorf(v.Pos, path, "must be %s, not %s", strings.Join(names, " or "), show(v))
		return
	}
	if s.check != nil {
		if msg := s.check(v); msg != "" {
			c.errorf(v.Pos, path, "%s", msg)
			return
		}
	}
	switch v.Kind {
	case String:
		if len(s.words) > 0 && !slices.Contains(s.words, v.Text) {
			c.errorf(v.Pos, path, "must be %s, not %s", s.wanted(), show(v))
		}
	case Int, Float:
		if n, err := strconv.Atoi(strings.TrimSuffix(v.Text, ".0")); s.top > s.low && (err != nil || n < s.low || n > s.top) {
			c.errorf(v.Pos, path, "must be %d to %d, not %s", s.low, s.top, v.Text)
		}
	case List:
		if s.items != nil {
			for i, item := range v.Items {
				c.value(s.items, item, fmt.Sprintf("%s[%d]", path, i))
			}
		}
	case Map:
		c.mapping(s, v, path)
	}
}

// accepts checks the type. JSON schema holds 16.0 to be an integer.
func (s *schema) accepts(v *Value) bool {
	if slices.Contains(s.kinds, v.Kind) {
		return true
	}
	if v.Kind == Float && slices.Contains(s.kinds, Int) {
		_, whole := integral(v.Text)
		return whole
	}
	return false
}

func (s *schema) wanted() string {
	if s.top > s.low {
		return fmt.Sprintf("an integer from %d to %d", s.low, s.top)
	}
	return strings.Join(s.words, ", ")
}

func (c *validator) mapping(s *schema, v *Value, path string) {
	if s.props == nil && s.rest == nil {
		return
	}
	for _, name := range s.required {
		if !v.Has(name) {
			c.errorf(v.Pos, path, "lacks %q", name)
		}
	}
	known := make([]string, 0, len(s.props))
	for name := range s.props {
		known = append(known, name)
	}
	slices.Sort(known)
	for _, e := range v.entries {
		below := e.Key.Text
		if path != "" {
			below = path + "." + e.Key.Text
		}
		sub := s.rest
		if p, ok := s.props[e.Key.Text]; ok && e.Key.Kind == String {
			sub = p
		}
		if sub == nil {
			msg := fmt.Sprintf("has the unknown key %s", show(e.Key))
			if near := diag.Nearest(e.Key.Text, known); near != "" {
				msg += fmt.Sprintf(" (did you mean %q?)", near)
			}
			c.errorf(e.Key.Pos, path, "%s", msg)
			continue
		}
		c.value(sub, e.Value, below)
	}
}

// show writes a value for a message.
func show(v *Value) string {
	switch v.Kind {
	case String:
		if len(v.Text) > 40 {
			return fmt.Sprintf("%.40q…", v.Text)
		}
		return strconv.Quote(v.Text)
	case Null:
		return "null"
	case List, Map:
		return v.Kind.article()
	}
	return fmt.Sprintf("the %s %s", v.Kind, v.Text)
}
