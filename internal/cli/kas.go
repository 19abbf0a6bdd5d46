package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/kas"
)

func kasCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "kas",
		Short: "Read kas configurations as kas does, and say where settings come from",
		Long: `Read kas configurations as kas does, without kas, git or the network, and say
which file and line set what.

A CHAIN is what kas takes: files joined by colons, merged from left to right
with all that they include ("kas/a.yaml:kas/b.yaml").

There are two dialects: "stock" is kas 5.4, "pantacor" the fork of kas 4.5 in
Pantavisor's build container. Without --dialect it is guessed from the tree,
and said on standard error.`,
	}
	c.AddCommand(kasResolve(env), kasDump(env), kasConf(env), kasCheck(env), kasLock(env), kasPin(env))
	return c
}

// kasFlags are those of every command that reads kas files.
type kasFlags struct {
	dialect string
	workDir string
	noLocks bool
}

func (k *kasFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&k.dialect, "dialect", "", "`stock` or pantacor (default: guessed)")
	f.StringVar(&k.workDir, "work-dir", "", "the `directory` that repositories are checked out in (default: KAS_WORK_DIR, or here)")
	f.BoolVar(&k.noLocks, "update", false, "leave lock files out, as kas does with --update")
}

// resolver makes a resolver for the machine's files.
func (k *kasFlags) resolver(env Env, quiet bool, near string) (*kas.Resolver, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	o := kas.Options{
		FS: os.DirFS("/"), Dir: cwd, NoLocks: k.noLocks,
		WorkDir: cmp.Or(k.workDir, env.Getenv("KAS_WORK_DIR")), BuildDir: env.Getenv("KAS_BUILD_DIR"),
		// An empty variable cannot be told from one that is not set here.
		Env: func(name string) (string, bool) { v := env.Getenv(name); return v, v != "" },
	}
	var why string
	if k.dialect != "" {
		if o.Dialect, err = kas.ParseDialect(k.dialect); err != nil {
			return nil, usageError{err}
		}
	} else {
		o.Dialect, why = guessDialect(near)
		if !quiet {
			fmt.Fprintf(env.Stderr, "pvkit: dialect %s: %s (--dialect says otherwise)\n", o.Dialect, why)
		}
	}
	return kas.New(o), nil
}

// guessDialect looks for signs of the fork in the project around a file: a
// Kconfig with KAS_LOCAL_ symbols, or a script that runs its container.
func guessDialect(near string) (kas.Dialect, string) {
	dir, err := filepath.Abs(filepath.Dir(near))
	if err != nil {
		return kas.Stock, "nothing speaks for another one"
	}
	for {
		for _, name := range []string{"Kconfig", "kas-container", "kconfig/Kconfig"} {
			src, err := readHead(filepath.Join(dir, name))
			switch {
			case err != nil:
			case strings.Contains(src, "config KAS_LOCAL_"):
				return kas.Pantacor, name + " has KAS_LOCAL_ symbols"
			case strings.Contains(src, "pantacor/kas") || strings.Contains(src, "pantavisor/kas"):
				return kas.Pantacor, name + " runs pantacor's container"
			}
		}
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil || dir == filepath.Dir(dir) {
			return kas.Stock, "nothing speaks for another one"
		}
		dir = filepath.Dir(dir)
	}
}

// readHead reads up to a megabyte of a file.
func readHead(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	src, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(src), errors.Join(err, f.Close())
}

// firstFile is the first file of a chain.
func firstFile(chain string) string {
	first, _, _ := strings.Cut(chain, ":")
	return first
}

// resolve resolves a chain.
func (k *kasFlags) resolve(c *cobra.Command, env Env, chain string) (*kas.Config, error) {
	r, err := k.resolver(env, false, firstFile(chain))
	if err != nil {
		return nil, err
	}
	return r.Resolve(c.Context(), chain)
}

// printFindings prints findings one a line and ends the command with
// ErrFindings.
func printFindings(w io.Writer, found []diag.Diagnostic) error {
	for _, d := range found {
		if _, err := fmt.Fprintln(w, d); err != nil {
			return err
		}
		for _, r := range d.Related {
			if _, err := fmt.Fprintf(w, "  %s: %s\n", r.Pos, r.Message); err != nil {
				return err
			}
		}
	}
	return ErrFindings
}

func kasDump(env Env) *cobra.Command {
	var k kasFlags
	var o kas.DumpOptions
	var format string
	c := &cobra.Command{
		Use:   "dump CHAIN",
		Short: "Print what kas dump prints, byte for byte",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch format {
			case "yaml":
			case "json":
				o.Format = kas.JSON
			default:
				return usagef("there is no format %q: it is yaml or json", format)
			}
			config, err := k.resolve(c, env, args[0])
			if err != nil {
				return err
			}
			out, err := config.Dump(o)
			if err != nil {
				return err
			}
			_, err = io.WriteString(env.Stdout, out)
			return err
		},
	}
	k.register(c)
	c.Flags().IntVar(&o.Indent, "indent", 0, "spaces for each level (default: the dialect's, 2 or 4)")
	c.Flags().BoolVar(&o.Sort, "sort", false, "sort the keys")
	c.Flags().StringVar(&format, "format", "yaml", "`yaml` or json")
	c.Flags().BoolVar(&o.ResolveEnv, "resolve-env", false, "set env to what the environment holds")
	return c
}

func kasConf(env Env) *cobra.Command {
	var k kasFlags
	var only string
	c := &cobra.Command{
		Use:   "conf CHAIN",
		Short: "Print the local.conf and bblayers.conf that kas would write",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if only != "" && only != "local.conf" && only != "bblayers.conf" {
				return usagef("there is no file %q: it is local.conf or bblayers.conf", only)
			}
			config, err := k.resolve(c, env, args[0])
			if err != nil {
				return err
			}
			local, err := config.LocalConf()
			var layers string
			if err == nil {
				layers, err = config.BBLayersConf()
			}
			if err != nil {
				return err
			}
			switch only {
			case "local.conf":
				_, err = io.WriteString(env.Stdout, local)
			case "bblayers.conf":
				_, err = io.WriteString(env.Stdout, layers)
			default:
				_, err = fmt.Fprintf(env.Stdout, "==> conf/local.conf\n%s\n==> conf/bblayers.conf\n%s", local, layers)
			}
			return err
		},
	}
	k.register(c)
	c.Flags().StringVar(&only, "only", "", "print one `file` alone, as kas writes it: local.conf or bblayers.conf")
	return c
}

func kasCheck(env Env) *cobra.Command {
	var k kasFlags
	var asJSON, strict bool
	o := &lintOptions{}
	c := &cobra.Command{
		Use:   "check CHAIN...",
		Short: "Find what kas refuses, and what it accepts and cannot be meant",
		Long: `Find what kas refuses: the schema of every file, versions, includes that do not
exist or form a cycle, repositories without a reference. And what it accepts
without a word: YAML keys twice in a mapping, an empty key that deletes a
mapping, blocks of local.conf that replace each other across files, settings
that lose because blocks are written in the order of their ids, layers and
patches that do not exist, keys without effect in the dialect.

Exit code 1 means that there are errors, with --strict also warnings.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if asJSON {
				o.format = "json"
			}
			report, err := newReporter(o)
			if err != nil {
				return usageError{err}
			}
			r, err := k.resolver(env, o.format != "text" && o.format != "oneline", firstFile(args[0]))
			if err != nil {
				return err
			}
			var all []diag.Diagnostic
			for _, chain := range args {
				_, found, err := r.Check(c.Context(), chain)
				if err != nil {
					return err
				}
				all = append(all, found...)
			}
			diag.Sort(all)
			all = slices.CompactFunc(all, func(a, b diag.Diagnostic) bool {
				return a.Pos == b.Pos && a.Rule == b.Rule && a.Message == b.Message
			})
			if err := report(env.Stdout, &findings{list: all}); err != nil {
				return err
			}
			worst, some := diag.Worst(all)
			failed := some && (worst == diag.Error || strict && worst == diag.Warning)
			if failed {
				return ErrFindings
			}
			return nil
		},
	}
	k.register(c)
	c.Flags().StringVar(&o.format, "format", "oneline", "text, oneline, json, jsonl, sarif, github or junit")
	c.Flags().BoolVar(&asJSON, "json", false, "the same as --format json")
	c.Flags().BoolVar(&strict, "strict", false, "exit with 1 for warnings, too")
	return c
}

// resolved is what `pvkit kas resolve` says of a chain.
type resolved struct {
	Dialect  string           `json:"dialect"`
	Chain    string           `json:"chain"`
	Machine  string           `json:"machine"`
	Distro   string           `json:"distro"`
	Targets  []string         `json:"targets"`
	Task     string           `json:"task"`
	Files    []kas.Use        `json:"files"`
	Repos    []resolvedRepo   `json:"repos"`
	Settings []resolvedOrigin `json:"settings"`
}

type resolvedRepo struct {
	ID     string   `json:"id"`
	URL    string   `json:"url,omitempty"`
	Commit string   `json:"commit,omitempty"`
	Branch string   `json:"branch,omitempty"`
	Tag    string   `json:"tag,omitempty"`
	Layers []string `json:"layers"`
}

type resolvedOrigin struct {
	Path  string          `json:"path"`
	Value string          `json:"value"`
	Set   diag.Position   `json:"set"`
	Over  []diag.Position `json:"overwrote,omitempty"`
}

func kasResolve(env Env) *cobra.Command {
	var k kasFlags
	var origins, asJSON bool
	c := &cobra.Command{
		Use:   "resolve CHAIN",
		Short: "Show the merged configuration, and which line set what and what it overwrote",
		Example: `  pvkit kas resolve kas/machines/rpi.yaml:kas/scarthgap.yaml
  pvkit kas resolve --origins a.yaml:b.yaml | grep local_conf_header`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			config, err := k.resolve(c, env, args[0])
			if err != nil {
				return err
			}
			repos, err := config.Repos()
			if err != nil {
				return err
			}
			r := describe(config, repos, args[0])
			switch {
			case asJSON:
				return json.NewEncoder(env.Stdout).Encode(r)
			case origins:
				return r.writeOrigins(env.Stdout)
			}
			return r.write(env.Stdout)
		},
	}
	k.register(c)
	c.Flags().BoolVar(&origins, "origins", false, "for every setting: its value, the line that set it, and what it overwrote")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func describe(c *kas.Config, repos []*kas.Repo, chain string) resolved {
	r := resolved{Dialect: c.Dialect().String(), Chain: chain, Machine: c.Machine(), Distro: c.Distro(),
		Targets: c.Targets(), Task: c.Task(), Files: c.Files, Repos: []resolvedRepo{}, Settings: []resolvedOrigin{}}
	for _, repo := range repos {
		d := resolvedRepo{ID: repo.ID, URL: repo.URL, Commit: repo.Commit, Branch: repo.Branch, Tag: repo.Tag, Layers: []string{}}
		for _, l := range repo.Layers {
			d.Layers = append(d.Layers, path.Join(l.Repo, l.Name))
		}
		r.Repos = append(r.Repos, d)
	}
	for o := range c.Origins() {
		s := resolvedOrigin{Path: o.Path, Value: oneLine(o.Value), Set: o.Value.Pos}
		for _, v := range o.Over {
			s.Over = append(s.Over, v.Pos)
		}
		r.Settings = append(r.Settings, s)
	}
	return r
}

// oneLine shows a value on one line.
func oneLine(v *kas.Value) string {
	switch v.Kind {
	case kas.Null:
		return "null"
	case kas.Map:
		return "{}"
	case kas.List:
		items := make([]string, len(v.Items))
		for i, item := range v.Items {
			items[i] = oneLine(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case kas.String:
		return fmt.Sprintf("%q", v.Text)
	}
	return v.Text
}

func (r resolved) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "machine  %s\ndistro   %s\ntargets  %s\ntask     %s\n\nfiles, in the order of merging:\n",
		r.Machine, r.Distro, strings.Join(r.Targets, " "), r.Task)
	for _, f := range r.Files {
		fmt.Fprintf(&b, "  %s", f.Name)
		if f.From.Line > 0 {
			fmt.Fprintf(&b, "  (%s)", f.From)
		}
		b.WriteByte('\n')
	}
	b.WriteString("\nrepositories:\n")
	for _, repo := range r.Repos {
		fmt.Fprintf(&b, "  %s  %s  %s\n", repo.ID, cmp.Or(repo.URL, "(here)"), cmp.Or(repo.Commit, repo.Tag, repo.Branch, "-"))
		for _, l := range repo.Layers {
			fmt.Fprintf(&b, "    %s\n", l)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r resolved) writeOrigins(w io.Writer) error {
	for _, s := range r.Settings {
		if _, err := fmt.Fprintf(w, "%s = %s\n    set      %s\n", s.Path, s.Value, s.Set); err != nil {
			return err
		}
		for _, o := range s.Over {
			if _, err := fmt.Fprintf(w, "    replaced %s\n", o); err != nil {
				return err
			}
		}
	}
	return nil
}
