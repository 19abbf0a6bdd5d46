package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport/container"
	"github.com/pvkit/pvkit/pvrexport/rootfs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// buildFlags are the flags of pvkit build.
type buildFlags struct {
	out    string
	arch   string
	jobs   int
	image  imageFlags
	sign   signFlags
	json   bool
	quiet  bool
	check  bool
	schema bool
}

func buildCommand(env Env) *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "build [DIR | container.yaml]...",
		Short: "Build pvrexports from container definitions",
		Long: `Build pvrexports from container definitions.

Each argument is a container.yaml or a directory that holds one. Without
arguments it is ./container.yaml, or else every container.yaml one directory
further down. Each definition is built for each of its architectures, into
OUT/NAME-ARCH` + container.Suffix + `.

The same input gives the same bytes, on any machine. SOURCE_DATE_EPOCH sets
the time of what has none of its own; without it that is 1970-01-01.`,
		Example: `  pvkit build
  pvkit build examples/* -o dist --arch arm64,armv7
  pvkit build web --preset xz
  pvkit build web --sign-key dev.key --sign-cert dev-chain.pem
  pvkit build web --check
  pvkit build --schema > container.schema.json`,
		RunE: func(c *cobra.Command, args []string) error {
			if f.schema {
				_, err := env.Stdout.Write(container.Schema())
				return err
			}
			return build(c.Context(), env, f, args)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.out, "output", "o", "out", "directory for the bundles; made if it is missing")
	fl.StringVar(&f.arch, "arch", "all", "architectures, with commas between: "+archList())
	fl.IntVarP(&f.jobs, "jobs", "j", 0, "builds at the same time (default one a CPU)")
	fl.BoolVar(&f.json, "json", false, "print the results as JSON")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print errors and warnings only")
	fl.BoolVar(&f.check, "check", false, "check the definitions and build nothing")
	fl.BoolVar(&f.schema, "schema", false, "print the JSON Schema of container.yaml")
	f.image.add(c)
	f.sign.addTo(c, "sign-")
	complete(c, "arch", append(archNames(), "all"))
	return c
}

func archNames() []string {
	var out []string
	for _, a := range container.Archs() {
		out = append(out, string(a))
	}
	return out
}

func archList() string { return strings.Join(archNames(), ", ") + ", or all that a definition has" }

// complete offers fixed words for a flag.
func complete(c *cobra.Command, flag string, words []string) {
	// The error is for a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// imageFlags are the flags about the image that build and add share.
type imageFlags struct {
	preset, compression, blockSize string
	level                          int
	engine                         string
}

func (f *imageFlags) add(c *cobra.Command) {
	flags := c.Flags()
	var presets []string
	for _, p := range squashfs.Presets() {
		presets = append(presets, p.Name)
	}
	flags.StringVar(&f.preset, "preset", "", "compression settings: "+strings.Join(presets, ", "))
	flags.StringVar(&f.compression, "compression", "", "codec: "+strings.Join(container.Compressions(), ", "))
	flags.StringVar(&f.blockSize, "block-size", "", "4K to 1M, a power of two")
	flags.IntVar(&f.level, "level", 0, "effort of gzip (1-9), zstd (1-22) or xz (1-9)")
	flags.StringVar(&f.engine, "engine", "internal", "what writes the image: internal, "+strings.Join(squashfs.ExternalTools(), ", "))
	complete(c, "engine", append([]string{"internal"}, squashfs.ExternalTools()...))
	complete(c, "preset", presets)
	complete(c, "compression", container.Compressions())
	complete(c, "block-size", []string{"4K", "8K", "16K", "32K", "64K", "128K", "256K", "512K", "1M"})
}

// apply turns the flags into options, checked.
func (f *imageFlags) apply(env Env, opts *container.Options) (err error) {
	if opts.Image, err = f.image(); err != nil {
		return err
	}
	opts.Engine, err = f.external(env)
	return err
}

// external is the engine that was asked for, nil for our own.
func (f *imageFlags) external(env Env) (container.Engine, error) {
	if f.engine == "internal" {
		return nil, nil
	}
	if !slices.Contains(squashfs.ExternalTools(), f.engine) {
		return nil, usagef("--engine %q: want internal, %s", f.engine, strings.Join(squashfs.ExternalTools(), ", "))
	}
	path := lookPath(env.Getenv, f.engine)
	if path == "" {
		return nil, fmt.Errorf("--engine %s: there is no such program on PATH", f.engine)
	}
	e := squashfs.External{Tool: f.engine, Path: path, Env: []string{"PATH=" + env.Getenv("PATH")}}
	return func(ctx context.Context, w *os.File, t *rootfs.Tree, o squashfs.Options) (squashfs.Stats, error) {
		return e.Write(ctx, w, filepath.Dir(w.Name()), t, o)
	}, nil
}

// image turns the flags into settings, checked.
func (f *imageFlags) image() (container.Image, error) {
	i := container.Image{Preset: f.preset, Compression: f.compression, Level: int64(f.level)}
	if f.blockSize != "" {
		s, err := container.ParseSize(f.blockSize)
		if err != nil {
			return i, usagef("--block-size: %w", err)
		}
		i.BlockSize = s
	}
	if err := i.Validate(); err != nil {
		return i, usageError{err}
	}
	return i, nil
}

// build is pvkit build.
func build(ctx context.Context, env Env, f buildFlags, args []string) error {
	if f.jobs < 0 {
		return usagef("--jobs: %d is negative", f.jobs)
	}
	archs, err := container.ParseArchs(f.arch)
	if err != nil {
		return usagef("--arch: %w", err)
	}
	opts, err := builderOptions(env)
	if err != nil {
		return err
	}
	if err := f.image.apply(env, &opts); err != nil {
		return err
	}
	if opts.Sign, err = f.sign.hook(env); err != nil {
		return err
	}
	defs, err := definitions(env, args)
	if err != nil {
		return err
	}
	if f.check {
		if !f.quiet {
			fmt.Fprintf(env.Stdout, "%s: no errors\n", count(len(defs), "definition"))
		}
		return nil
	}
	jobs, err := plan(defs, archs, f.out)
	if err != nil {
		return err
	}
	return buildJobs(ctx, env, f, opts, jobs)
}

// definitions loads every definition that the arguments name and prints what
// is wrong with them, all of it before anything is built.
func definitions(env Env, args []string) ([]*container.Definition, error) {
	files, err := definitionFiles(args)
	if err != nil {
		return nil, err
	}
	var defs []*container.Definition
	bad := 0
	for _, file := range files {
		def, found, err := container.Load(file)
		if err != nil {
			return nil, err
		}
		for _, d := range found {
			fmt.Fprintln(env.Stderr, d)
		}
		if def == nil {
			bad++
			continue
		}
		defs = append(defs, def)
	}
	if bad > 0 {
		return nil, fmt.Errorf("%s of %d cannot be built", count(bad, "definition"), len(files))
	}
	return defs, nil
}

func definitionFiles(args []string) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	if _, err := os.Stat(container.DefinitionFile); err == nil {
		return []string{container.DefinitionFile}, nil
	}
	found, err := filepath.Glob(filepath.Join("*", container.DefinitionFile))
	if err == nil && len(found) == 0 {
		err = usagef("there is no %s here nor in a directory below; name one", container.DefinitionFile)
	}
	return found, err
}

// plan lists the bundles to build. Two definitions for one file are an error
// before they become one bundle.
func plan(defs []*container.Definition, archs []container.Arch, out string) ([]container.Job, error) {
	var jobs []container.Job
	places := map[string]string{}
	for _, def := range defs {
		for _, a := range def.Targets(archs) {
			file := filepath.Join(out, container.FileName(def.Name, a))
			if first, twice := places[file]; twice {
				return nil, usagef("%s and %s both make %s", first, def.Pos.File, file)
			}
			places[file] = def.Pos.File
			jobs = append(jobs, container.Job{Def: def, Arch: a, File: file})
		}
	}
	if len(jobs) == 0 {
		return nil, usagef("none of the definitions is for any of the architectures asked for")
	}
	return jobs, nil
}

func buildJobs(ctx context.Context, env Env, f buildFlags, opts container.Options, jobs []container.Job) (err error) {
	if err := os.MkdirAll(f.out, 0o777); err != nil {
		return fmt.Errorf("make the output directory: %w", err)
	}
	n := f.jobs
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	n = min(n, len(jobs))
	opts.TempDir = f.out
	opts.Workers = max(1, runtime.GOMAXPROCS(0)/n)
	b, err := container.NewBuilder(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()

	p := newProgress(ctx, env, jobs, f.quiet)
	results, _ := b.BuildAll(ctx, jobs, n, p)
	p.finish()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := printResults(env.Stdout, f, results, p); err != nil {
		return err
	}
	failed := 0
	for i, r := range results {
		if r == nil {
			failed++
			continue
		}
		printNotes(env.Stderr, jobs, results, i)
	}
	if failed > 0 {
		return fmt.Errorf("%s of %d failed", count(failed, "build"), len(jobs))
	}
	return nil
}

// printNotes prints the warnings of a build that no build before it had: the
// architectures of one definition mostly share theirs. Load has printed those
// about the definition itself.
func printNotes(w io.Writer, jobs []container.Job, results []*container.Result, i int) {
	for _, d := range results[i].Notes {
		seen := d.Rule != container.RuleSkipped
		for j := range i {
			if jobs[j].Def == jobs[i].Def && results[j] != nil {
				seen = seen || slices.ContainsFunc(results[j].Notes, func(o diag.Diagnostic) bool { return o.String() == d.String() })
			}
		}
		if !seen {
			fmt.Fprintln(w, d)
		}
	}
}

func printResults(w io.Writer, f buildFlags, results []*container.Result, p *progress) error {
	done := slices.DeleteFunc(slices.Clone(results), func(r *container.Result) bool { return r == nil })
	if f.json {
		return printJSON(w, done)
	}
	if f.quiet || len(done) == 0 {
		return nil
	}
	rows := [][]string{{"NAME", "ARCH", "SIZE", "SHA256", "TIME"}}
	for i, r := range results {
		if r != nil {
			rows = append(rows, []string{shorten(r.Name, 30), string(r.Arch), sizeText(r.Size), r.Digest[:12], p.took(i)})
		}
	}
	return table(w, rows)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// table prints rows in columns, with two blanks between them.
func table(w io.Writer, rows [][]string) error {
	width := map[int]int{}
	for _, r := range rows {
		for i, cell := range r {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for _, r := range rows {
		line := ""
		for i, cell := range r {
			line += cell + strings.Repeat(" ", width[i]-len([]rune(cell))+2)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// builderOptions are those that come from the environment.
func builderOptions(env Env) (container.Options, error) {
	opts := container.Options{Go: goTool(env.Getenv), TempDir: env.Getenv("TMPDIR")}
	if s := env.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		sec, err := strconv.ParseInt(s, 10, 64)
		if err != nil || sec < 0 || sec > 1<<32-1 {
			return opts, usagef("SOURCE_DATE_EPOCH=%s: want seconds since 1970, at most %d", s, uint32(1<<32-1))
		}
		opts.Epoch, opts.Clamp = time.Unix(sec, 0), true
	}
	return opts, nil
}

// goVariables are what the go command may take from the environment: where it
// keeps things and how it reaches the network. Nothing that changes what it
// makes.
var goVariables = []string{
	"PATH", "HOME", "USER", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
	"GOROOT", "GOPATH", "GOCACHE", "GOMODCACHE", "GOTMPDIR", "GOENV", "GOTOOLCHAIN", "GOWORK", "GOMAXPROCS",
	"GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE", "GOVCS", "GOAUTH", "NETRC",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "SSH_AUTH_SOCK", "GIT_SSH", "GIT_SSH_COMMAND",
}

// goTool finds the go command on the PATH of the environment.
func goTool(getenv func(string) string) container.GoTool {
	var t container.GoTool
	for _, name := range goVariables {
		if v := getenv(name); v != "" {
			t.Env = append(t.Env, name+"="+v)
		}
	}
	t.Path = lookPath(getenv, "go")
	return t
}

// lookPath finds a program on the PATH of the environment, "" when there is
// none. The current directory is never searched.
func lookPath(getenv func(string) string, name string) string {
	for _, dir := range filepath.SplitList(getenv("PATH")) {
		file := filepath.Join(dir, name)
		if !filepath.IsAbs(file) {
			continue
		}
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}

// count is "1 build", "2 builds".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// shorten cuts a word to n columns.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
