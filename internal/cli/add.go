package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport/container"
	"github.com/pvkit/pvkit/pvrexport/manifest"
)

// addFlags are the flags of pvkit add. Those of pvr app add mean the same.
type addFlags struct {
	from, name, kind, out         string
	args, argFiles, volumes       []string
	config, group, runlevel, base string
	restartPolicy, statusGoal     string
	services, mdev, network       string
	overlay, origin               string
	owner, times, formatOptions   string
	exclude                       []string
	image                         imageFlags
	sign                          signFlags
	json, quiet                   bool
}

func addCommand(env Env) *cobra.Command {
	var f addFlags
	c := &cobra.Command{
		Use:   "add --from ROOTFS [--name] APP",
		Short: "Build a pvrexport from a root filesystem",
		Long: `Build a pvrexport from a root filesystem: a directory, a tar archive (plain or
compressed with gzip, zstd, xz or bzip2), or - for an archive on standard input.

The flags are those of "pvr app add --type rootfs", and what its users do by
hand afterwards. Nothing here needs root or fakeroot: in a directory, what
belongs to you belongs to root in the image; an archive keeps its owners.
SOURCE_DATE_EPOCH, when it is set, is the latest time that a file has.`,
		Example: `  pvkit add --from build/rootfs --name web --group app
  tar -C rootfs -c . | pvkit add --from - web --arg PV_RESTART_POLICY=container
  pvkit add --from rootfs.tar.zst web --arg-json args.json \
      --volume ovl:/var:permanent --format-options "-comp xz -e lib/modules"
  pvkit add --from rootfs web -o - | ssh device pvtx add -`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				if f.name != "" && f.name != args[0] {
					return usagef("the container has two names, %q and %q", f.name, args[0])
				}
				f.name = args[0]
			}
			return add(c.Context(), env, f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.from, "from", "", "root filesystem: directory, archive, or - for an archive on standard input")
	fl.StringVar(&f.name, "name", "", "name of the container")
	fl.StringVarP(&f.out, "output", "o", "", "file for the bundle, - for standard output (default NAME"+container.Suffix+")")
	fl.StringVarP(&f.kind, "type", "t", "rootfs", "type of source; rootfs is the only one")
	fl.StringArrayVar(&f.args, "arg", nil, "template argument K=V; may be repeated")
	fl.StringArrayVar(&f.argFiles, "arg-json", nil, "file with template arguments; --arg wins")
	fl.StringVar(&f.config, "config-json", "", "file with an image configuration: Entrypoint, Cmd, Env, WorkingDir, Volumes")
	fl.StringVar(&f.group, "group", "", "group that the container starts with")
	fl.StringVar(&f.runlevel, "runlevel", "", "old word for the group")
	fl.StringVar(&f.restartPolicy, "restart-policy", "", "system or container")
	fl.StringVar(&f.statusGoal, "status-goal", "", "MOUNTED, STARTED or READY")
	fl.StringArrayVar(&f.volumes, "volume", nil, "[ovl:]/path:permanent, :revision or :boot; may be repeated")
	fl.StringVar(&f.base, "base", "", "container whose root filesystem lies below this one's")
	fl.StringVar(&f.services, "services", "", "services.json: what the container offers")
	fl.StringVar(&f.mdev, "mdev", "", "mdev.json: rules for device nodes")
	fl.StringVar(&f.network, "network-json", "", "network.json: pool, hostname, ip, mac")
	fl.StringVar(&f.overlay, "config-overlay", "", "directory that becomes _config/NAME")
	fl.StringVar(&f.origin, "build-origin", "", `pv_build_origin in src.json, such as "yocto"`)
	fl.StringArrayVar(&f.exclude, "exclude", nil, "path or pattern that is left out; may be repeated")
	fl.StringVar(&f.owner, "owner", "", "owner of everything, as uid:gid")
	fl.StringVar(&f.times, "times", "keep", "times of files: keep, or epoch for SOURCE_DATE_EPOCH or 1970")
	fl.StringVar(&f.formatOptions, "format-options", "", "options of mksquashfs: -comp, -b, -Xhc, -e and others")
	fl.BoolVar(&f.json, "json", false, "print the result as JSON")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print errors and warnings only")
	f.image.add(c)
	f.sign.addTo(c, "sign-")
	complete(c, "type", []string{"rootfs"})
	complete(c, "times", []string{"keep", "epoch"})
	complete(c, "group", []string{"data", "root", "platform", "app"})
	complete(c, "restart-policy", []string{"system", "container"})
	complete(c, "status-goal", []string{"MOUNTED", "STARTED", "READY"})
	return c
}

func add(ctx context.Context, env Env, f addFlags) error {
	switch {
	case f.from == "":
		return usagef("--from is missing: name a directory, an archive, or -")
	case f.name == "":
		return usagef("the container has no name: give --name")
	case f.kind != "rootfs":
		return usagef("--type %s: only rootfs is supported; pvr pulls images of other types", f.kind)
	case f.group != "" && f.runlevel != "":
		return usagef("--runlevel and --group exclude each other")
	case f.times != "keep" && f.times != "epoch":
		return usagef("--times %q: want keep or epoch", f.times)
	case f.out == "-" && f.json:
		return usagef("--json and -o - both want standard output")
	}
	opts, err := builderOptions(env)
	if err != nil {
		return err
	}
	def, err := f.definition()
	if err != nil {
		return err
	}
	if err := f.image.apply(env, &opts); err != nil {
		return err
	}
	if opts.Sign, err = f.sign.hook(env); err != nil {
		return err
	}
	if f.from == "-" {
		opts.Stdin = env.Stdin
	}
	if found := def.Check(); len(found) > 0 {
		bad := 0
		for _, d := range found {
			fmt.Fprintln(env.Stderr, d)
			if d.Severity == diag.Error {
				bad++
			}
		}
		if bad > 0 {
			return fmt.Errorf("%s in what container %q is to be", count(bad, "error"), shorten(f.name, 30))
		}
	}
	return addBuild(ctx, env, f, opts, def)
}

func addBuild(ctx context.Context, env Env, f addFlags, opts container.Options, def *container.Definition) (err error) {
	out := f.out
	if out == "" {
		out = container.FileName(f.name, "")
	}
	stream, err := outputStream(env, out)
	if err != nil {
		return err
	}
	if stream == nil {
		opts.TempDir = filepath.Dir(out)
	}
	b, err := container.NewBuilder(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	jobs := []container.Job{{Def: def, File: out}}
	p := newProgress(ctx, env, jobs, f.quiet)
	watch := func(s container.Stage, done, total int64) { p.Progress(0, s, done, total) }
	var res *container.Result
	if stream != nil {
		res, err = b.Build(ctx, def, "", stream, watch)
		err = errors.Join(err, stream.Close())
	} else {
		res, err = b.BuildFile(ctx, def, "", out, watch)
	}
	if err != nil {
		p.finish()
		return err
	}
	p.Done(0, res, nil)
	p.finish()
	printNotes(env.Stderr, jobs, []*container.Result{res}, 0)
	if f.json {
		return printJSON(env.Stdout, res)
	}
	return nil
}

// outputStream is where a bundle goes that becomes no file: standard output,
// or a pipe or device that must not be replaced by one. It is nil for a file.
func outputStream(env Env, out string) (io.WriteCloser, error) {
	if out == "-" {
		return keepOpen{env.Stdout}, nil
	}
	switch st, err := os.Stat(out); {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(out)); err != nil {
			return nil, fmt.Errorf("-o %s: %w", out, err)
		}
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("-o %s: %w", out, err)
	case st.Mode().IsRegular():
		return nil, nil
	case st.IsDir():
		return nil, usagef("-o %s: a directory; name a file", out)
	}
	return os.OpenFile(out, os.O_WRONLY, 0)
}

// keepOpen is a stream that somebody else closes.
type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

// definition turns the flags into what a container.yaml would say.
func (f addFlags) definition() (*container.Definition, error) {
	def := &container.Definition{
		Dir: ".", Name: f.name, Group: f.group, Base: strings.Trim(f.base, "/"), BuildOrigin: f.origin,
		RestartPolicy: f.restartPolicy, StatusGoal: f.statusGoal, Args: map[string]any{},
		Pos: diag.Position{File: "command line"}, JSON: "inline",
	}
	if err := f.layers(def); err != nil {
		return nil, err
	}
	for _, v := range f.volumes {
		vol, err := container.ParseVolume(v)
		if err != nil {
			return nil, usagef("--volume: %w", err)
		}
		vol.Pos = diag.Position{File: "--volume " + v}
		def.Volumes = append(def.Volumes, vol)
	}
	return def, errors.Join(f.arguments(def), f.documents(def))
}

// layers says where the root filesystem and the overlay come from.
func (f addFlags) layers(def *container.Definition) error {
	l := container.Layer{Kind: "tar", Value: f.from, Exclude: f.exclude}
	if f.from != "-" {
		st, err := os.Stat(f.from)
		if err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		if st.IsDir() {
			l.Kind = "dir"
			l.Keep = []string{"mode", "time", "xattrs"}
			l.OwnerMap = mineIsRoots(uint32(os.Geteuid()), uint32(os.Getegid()))
			if f.times == "epoch" {
				l.Keep = []string{"mode", "xattrs"}
			}
		}
	}
	if l.Kind == "tar" && f.times == "epoch" {
		return usagef("--times epoch is for directories; an archive's times are its own")
	}
	if f.owner != "" {
		o, err := container.ParseOwner(f.owner)
		if err != nil {
			return usagef("--owner: %w", err)
		}
		l.Owner, l.OwnerMap = o, nil
	}
	if err := parseFormatOptions(f.formatOptions, &def.Squashfs, &l); err != nil {
		return usagef("--format-options: %w", err)
	}
	def.Rootfs = []container.Layer{l}
	if f.overlay != "" {
		def.Config = []container.Layer{{Kind: "dir", Value: f.overlay}}
	}
	return nil
}

// mineIsRoots is what fakeroot shows: what belongs to whoever runs this
// belongs to root, everything else to whom it belongs.
func mineIsRoots(uid, gid uint32) func(u, g uint32) (uint32, uint32) {
	return func(u, g uint32) (uint32, uint32) {
		if u == uid {
			u = 0
		}
		if g == gid {
			g = 0
		}
		return u, g
	}
}

// arguments gathers the template arguments: files first, in order, then --arg.
func (f addFlags) arguments(def *container.Definition) error {
	for _, file := range f.argFiles {
		m, err := readObject(file)
		if err != nil {
			return fmt.Errorf("--arg-json: %w", err)
		}
		maps.Copy(def.Args, m)
		for name := range m {
			def.SetPosition("args."+name, diag.Position{File: file})
		}
	}
	for _, a := range f.args {
		name, value, _ := strings.Cut(a, "=")
		if name == "" {
			return usagef("--arg %q: want NAME=value", a)
		}
		def.Args[name] = value
		def.SetPosition("args."+name, diag.Position{File: "--arg " + name})
	}
	if f.runlevel != "" {
		def.Args["PV_RUNLEVEL"] = f.runlevel
	}
	// The flags are later words about the same thing, as in pvr.
	for name, set := range map[string]string{"PV_GROUP": f.group, "PV_RESTART_POLICY": f.restartPolicy, "PV_STATUS_GOAL": f.statusGoal} {
		if set != "" {
			delete(def.Args, name)
		}
	}
	return nil
}

// documents reads the JSON files that stand for parts of a container.yaml.
func (f addFlags) documents(def *container.Definition) error {
	if f.config != "" {
		m, err := readObject(f.config)
		if err != nil {
			return fmt.Errorf("--config-json: %w", err)
		}
		def.OCI = m
		def.SetPosition("config", diag.Position{File: f.config})
	}
	if f.services != "" {
		list, err := parseFile(f.services, manifest.ParseServices)
		if err != nil {
			return fmt.Errorf("--services: %w", err)
		}
		for _, s := range list {
			def.Services.Exports = append(def.Services.Exports, container.Export(s))
		}
		def.SetPosition("services", diag.Position{File: f.services})
	}
	if f.mdev != "" {
		var err error
		if def.Mdev, err = parseFile(f.mdev, manifest.ParseMdev); err != nil {
			return fmt.Errorf("--mdev: %w", err)
		}
		def.SetPosition("mdev", diag.Position{File: f.mdev})
	}
	if f.network != "" {
		var err error
		if def.NetworkDocument, err = parseFile(f.network, manifest.ParseNetwork); err != nil {
			return fmt.Errorf("--network-json: %w", err)
		}
		def.SetPosition("network", diag.Position{File: f.network})
	}
	return nil
}

// parseFile gives a file to a parser and its name to the parser's error.
func parseFile[T any](file string, parse func(io.Reader) (T, error)) (T, error) {
	f, err := os.Open(file)
	if err != nil {
		var none T
		return none, err
	}
	v, err := parse(f)
	if err = errors.Join(err, f.Close()); err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return v, err
}

// readObject reads a file with one JSON object. Numbers keep their digits.
func readObject(file string) (map[string]any, error) {
	return parseFile(file, func(r io.Reader) (map[string]any, error) {
		const most = 4 << 20
		data, err := io.ReadAll(io.LimitReader(r, most+1))
		if err != nil {
			return nil, err
		}
		if len(data) > most {
			return nil, fmt.Errorf("larger than %d bytes", most)
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			at := d.InputOffset()
			if e, ok := errors.AsType[*json.SyntaxError](err); ok {
				at = e.Offset
			}
			line := 1 + bytes.Count(data[:min(int(at), len(data))], []byte("\n"))
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, errors.New("there is something after the JSON value")
		}
		if m == nil {
			return nil, errors.New("want an object, found null")
		}
		return m, nil
	})
}
