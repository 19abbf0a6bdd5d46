package kas

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// Config is a merged configuration.
type Config struct {
	// Root is the merged mapping.
	Root *Value
	// Files are the files in the order of merging.
	Files []Use
	// Warnings are what kas warns about while it follows the includes.
	Warnings []diag.Diagnostic

	r     *Resolver
	top   string
	chain []string
}

// config merges what the walk has found.
func (w *walk) config() *Config {
	c := &Config{Files: w.uses, Warnings: w.warn, r: w.r, top: w.top, chain: w.chain}
	highest := 0
	var highestValue *Value
	for _, use := range w.uses {
		if use.Lock && w.r.o.NoLocks {
			continue
		}
		if c.Root == nil {
			c.Root = use.config
		} else {
			c.Root = merge(c.Root, use.config)
		}
		if n, err := version(use.config, w.r.o.Dialect); err == nil && n >= highest {
			highest, highestValue = n, use.config.Get("header", "version")
		}
	}
	if w.r.o.Dialect == Stock && highestValue != nil {
		// kas 5 writes the highest version of all files.
		v := &Value{Kind: Int, Text: fmt.Sprint(highest), Pos: highestValue.Pos, size: 1}
		c.Root = c.Root.with("header", c.Root.Get("header").with("version", v))
	}
	return c
}

// Dialect is the one that the configuration was resolved in.
func (c *Config) Dialect() Dialect { return c.r.o.Dialect }

func (c *Config) env(name string) (string, bool) { return c.r.o.Env(name) }

// setting returns an environment variable, a key's value, or a default.
func (c *Config) setting(env, key, standard string) string {
	if v, ok := c.env(env); ok {
		return v
	}
	if v := c.Root.Get(key); v != nil {
		return v.Str()
	}
	return standard
}

// Machine is what MACHINE becomes: KAS_MACHINE, the key, or qemux86-64.
func (c *Config) Machine() string { return c.setting("KAS_MACHINE", "machine", "qemux86-64") }

// Distro is what DISTRO becomes: KAS_DISTRO, the key, or the dialect's
// default.
func (c *Config) Distro() string {
	return c.setting("KAS_DISTRO", "distro", c.r.o.Dialect.defaultDistro())
}

// Task is what BitBake is asked to do.
func (c *Config) Task() string { return c.setting("KAS_TASK", "task", "build") }

// Targets are what BitBake is asked to build: KAS_TARGET, the key, or
// core-image-minimal.
func (c *Config) Targets() []string {
	if v, ok := c.env("KAS_TARGET"); ok {
		if words := strings.Fields(v); len(words) > 0 {
			return words
		}
	}
	v := c.Root.Get("target")
	switch {
	case v == nil:
		return []string{"core-image-minimal"}
	case v.Kind == String:
		return []string{v.Text}
	}
	out := make([]string, 0, len(v.Items))
	for _, item := range v.Items {
		out = append(out, item.Text)
	}
	return out
}

// Multiconfigs are the names in targets of the form mc:NAME:TARGET, in order,
// each once. kas itself keeps them in a set, so the order of several in its
// local.conf changes from run to run.
func (c *Config) Multiconfigs() []string {
	var out []string
	for _, t := range c.Targets() {
		rest, ok := strings.CutPrefix(t, "multiconfig:")
		if !ok {
			rest, ok = strings.CutPrefix(t, "mc:")
		}
		if name, _, _ := strings.Cut(rest, ":"); ok && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// EnvVar is a variable that kas hands to BitBake.
type EnvVar struct {
	Name, Value string
	Set         bool // false: passed on only when the environment has it
}

// Environment is the env of the configuration, with what the environment
// itself sets.
func (c *Config) Environment() []EnvVar {
	var out []EnvVar
	for name, v := range c.Root.Get("env").All() {
		e := EnvVar{Name: name, Value: v.Str(), Set: v.Kind == String}
		if s, ok := c.env(name); ok {
			e.Value, e.Set = s, true
		}
		out = append(out, e)
	}
	return out
}

// buildSystem is the build system that kas assumes.
func (c *Config) buildSystem() string {
	switch s := c.Root.Get("build_system").Str(); {
	case s == "isar" && c.r.o.Dialect == Stock:
		return "isar-privileged"
	case s == "" && c.r.o.Dialect == Stock:
		return "openembedded"
	default:
		return s
	}
}
