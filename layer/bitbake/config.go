package bitbake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake/pyexpr"
)

// Options say which configuration LoadConfig builds.
type Options struct {
	// Loader reads the files and keeps them parsed; share one between calls.
	Loader *Loader
	// TopDir is the build directory: conf/bblayers.conf, conf/local.conf. The
	// files may exist only as overlays of the Loader.
	TopDir string
	// Layers, when set, is used instead of bblayers.conf: the paths of the
	// layers in BBLAYERS order.
	Layers []string
	// Env holds variables that come from the environment (those that
	// BB_ENV_PASSTHROUGH lets in): MACHINE, DISTRO, PATH. What BitBake always
	// takes from there and is not given is unknown.
	Env map[string]string
	// Host says what inline Python would find out about the build machine.
	Host Host
	// Before and After are extra configuration files (bitbake -r and -R).
	Before, After []string
	// MultiConfig names the multiconfig, "" for the base one.
	MultiConfig string
	// Strict stops at the first error, as BitBake does. Otherwise the error
	// becomes a finding, the statement is left out, and evaluation goes on.
	Strict bool
	// Finish expands keys and looks at anonymous Python at the end, as
	// `bitbake -e` without a recipe does. Do not copy such a datastore for
	// recipes.
	Finish bool
}

// Host is what metadata asks the build machine about. What is left out is
// unknown.
type Host struct {
	System  string // os.uname()[0]: "Linux"
	Machine string // os.uname()[4]: "x86_64"
	CPUs    int    // what oe.utils.cpu_count() counts
}

// hostVars are always taken from the environment (bb.utils.preserved_envvars).
var hostVars = []string{"HOME", "LOGNAME", "PATH", "PWD", "SHELL", "USER"}

// LoadConfig builds the global configuration in BitBake's file order
// (bb/cookerdata.py, parseConfigurationFiles): bblayers.conf, each layer.conf,
// conf/bitbake.conf with what it includes, base.bbclass and the classes in
// INHERIT. The findings say what BitBake would refuse or warn about, and what
// is missing or out of sight. The error is not nil only when ctx ended, a
// limit was hit, or with Strict.
func LoadConfig(ctx context.Context, o Options) (*Datastore, []diag.Diagnostic, error) {
	d := New(o.Loader)
	d.keepGoing = !o.Strict
	d.cancelled = ctx.Err
	d.host = o.Host
	err := d.loadConfig(o)
	if err == nil && o.Finish {
		err = d.step(d.Finalize())
	}
	d.cancelled = nil
	if err != nil {
		return d, d.Diagnostics(), fmt.Errorf("load the configuration of %s: %w", o.TopDir, err)
	}
	return d, d.Diagnostics(), nil
}

func (d *Datastore) loadConfig(o Options) error {
	for _, name := range hostVars {
		if _, ok := o.Env[name]; !ok {
			d.own(name).content = &text{hidden("${" + name + "}"), &unknown{name + " comes from the environment of the build"}}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Env)) {
		if err := d.set(name, text{s: o.Env[name]}, plain, Event{Op: "from env", Operand: o.Env[name]}); err != nil {
			return err
		}
	}
	mc := o.MultiConfig
	if mc == "" {
		mc = "default"
	}
	if err := d.Set("BB_CURRENT_MC", mc); err != nil {
		return err
	}
	for _, f := range o.Before {
		if err := d.stepFile(f, "-r", true); err != nil {
			return err
		}
	}
	if err := d.loadLayers(o); err != nil {
		return err
	}
	if err := d.loadBase(); err != nil {
		return err
	}
	for _, f := range o.After {
		if err := d.stepFile(f, "-R", true); err != nil {
			return err
		}
	}
	inherit, err := d.get("INHERIT")
	if err := d.step(err); err != nil {
		return err
	}
	for _, class := range append([]string{"base"}, pyexpr.Split(inherit.s)...) {
		if err := d.step(d.inherit(text{class, inherit.unk}, d.inheritPos(class), "INHERIT")); err != nil {
			return err
		}
	}
	d.markHandlers(configEvents)
	d.own("BBINCLUDED").mark = &unknown{"the list of files that BitBake depends on is not kept"}
	return nil
}

// inheritPos is the statement that put a class into INHERIT.
func (d *Datastore) inheritPos(class string) diag.Position {
	for _, e := range slices.Backward(d.events("INHERIT")) {
		if slices.Contains(pyexpr.Split(e.Operand), class) {
			return e.Pos
		}
	}
	return diag.Position{}
}

// step turns an error into a finding where evaluation may go on.
func (d *Datastore) step(err error) error {
	if err == nil || !d.keepGoing {
		return err
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	if _, limit := errors.AsType[*LimitError](err); limit {
		return err
	}
	*d.diags = append(*d.diags, e.Diagnostic())
	if d.failed == nil {
		d.failed = e
	}
	return nil
}

// Failed returns the first error at which BitBake itself would have stopped,
// nil when there was none. What d says after that is what it would be without
// the broken statements.
func (d *Datastore) Failed() *Error { return d.failed }

// stepFile includes a file that must be there.
func (d *Datastore) stepFile(name, verb string, base bool) error {
	err := d.handle(name, Via{Verb: verb}, base)
	if nf, ok := err.(*notFound); ok { //nolint:errorlint // of this file only
		return d.missing(&Error{Type: "ParseError", Msg: name + " does not exist", Err: nf, Pos: diag.Position{File: name}})
	}
	return d.step(err)
}

// loadLayers reads bblayers.conf and every layer.conf.
func (d *Datastore) loadLayers(o Options) error {
	if o.TopDir != "" {
		if err := d.Set("TOPDIR", o.TopDir); err != nil {
			return err
		}
	}
	bblayers := joinPath(o.TopDir, "conf/bblayers.conf")
	switch {
	case len(o.Layers) > 0:
		if _, ok := d.raw("BBPATH"); !ok && o.TopDir != "" {
			if err := d.Set("BBPATH", o.TopDir); err != nil {
				return err
			}
		}
		if err := d.Set("BBLAYERS", strings.Join(o.Layers, " ")); err != nil {
			return err
		}
	default:
		if err := d.stepFile(bblayers, "parse", true); err != nil {
			return err
		}
	}
	layers, err := d.get("BBLAYERS")
	if err := d.step(err); err != nil {
		return err
	}
	// The layers' variables form a store of their own: LAYERDIR is replaced
	// only in what was set since here.
	below := *d
	*d = *below.Copy()
	d.diags = below.diags
	compat := map[string][]string{}
	var series []string
	for _, layer := range pyexpr.Split(layers.s) {
		if layer != "/" {
			layer = strings.TrimRight(layer, "/")
		}
		if err := d.loadLayer(layer, compat, &series); err != nil {
			return err
		}
	}
	ev := Event{Op: "del", Internal: true}
	d.remove("LAYERDIR_RE", ev)
	d.remove("LAYERDIR", ev)
	for _, c := range slices.Sorted(maps.Keys(compat)) {
		slices.Sort(compat[c])
		if err := d.Set("LAYERSERIES_COMPAT_"+c, strings.Join(slices.Compact(compat[c]), " ")); err != nil {
			return err
		}
	}
	return d.checkLayers(compat, series)
}

func (d *Datastore) loadLayer(layer string, compat map[string][]string, series *[]string) error {
	if d.loader.kind(layer) != directory {
		return d.missing(&Error{Type: "BBHandledException", Msg: "the layer " + layer + " does not exist", Pos: d.lastPos("BBLAYERS"), Err: &notFound{layer}})
	}
	if err := d.Set("LAYERDIR", layer); err != nil {
		return err
	}
	if err := d.Set("LAYERDIR_RE", escapePattern(layer)); err != nil {
		return err
	}
	if err := d.stepFile(layer+"/conf/layer.conf", "layer", true); err != nil {
		return err
	}
	for _, name := range []string{"LAYERDIR", "LAYERDIR_RE"} {
		if err := d.step(d.replaceRefs(name)); err != nil {
			return err
		}
	}
	collections, err := d.get("BBFILE_COLLECTIONS")
	if err := d.step(err); err != nil {
		return err
	}
	ev := Event{Op: "del", Internal: true}
	for _, c := range pyexpr.Split(collections.s) {
		v, err := d.get("LAYERSERIES_COMPAT_" + c)
		if err := d.step(err); err != nil {
			return err
		}
		if v.s != "" {
			compat[c] = pyexpr.Split(v.s)
			d.remove("LAYERSERIES_COMPAT_"+c, ev)
		}
	}
	if len(*series) == 0 {
		v, err := d.get("LAYERSERIES_CORENAMES")
		if err := d.step(err); err != nil {
			return err
		}
		if *series = pyexpr.Split(v.s); len(*series) > 0 {
			d.remove("LAYERSERIES_CORENAMES", ev)
		}
	}
	return nil
}

// escapePattern is Python's re.escape.
func escapePattern(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("()[]{}?*+-|^$\\.&~# \t\n\r\v\f", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// checkLayers adds BBFILES_DYNAMIC and checks that the layers fit together.
func (d *Datastore) checkLayers(compat map[string][]string, series []string) error {
	v, err := d.get("BBFILE_COLLECTIONS")
	if err := d.step(err); err != nil {
		return err
	}
	collections := pyexpr.Split(v.s)
	dynamic, err := d.get("BBFILES_DYNAMIC")
	if err := d.step(err); err != nil {
		return err
	}
	for _, entry := range pyexpr.Split(dynamic.s) {
		name, pattern, ok := strings.Cut(entry, ":")
		if !ok || name == "" {
			if err := d.step(d.layerError("BBFILES_DYNAMIC", "BBFILES_DYNAMIC takes COLLECTION:PATTERN or !COLLECTION:PATTERN, not %s", entry)); err != nil {
				return err
			}
			continue
		}
		plainName, inverted := strings.CutPrefix(name, "!")
		if slices.Contains(collections, plainName) == inverted {
			continue
		}
		ev := Event{Op: "append", Operand: " " + pattern, Pos: d.lastPos("BBFILES_DYNAMIC"), Internal: true}
		if err := d.set("BBFILES:append", text{s: " " + pattern}, parsing, ev); err != nil {
			return err
		}
	}
	for i, c := range collections {
		var problem error
		switch {
		case slices.Contains(collections[:i], c):
			problem = d.layerError("BBFILE_COLLECTIONS", "two layers have the collection name %s", c)
		case len(compat[c]) == 0:
			d.report(diag.Warning, RuleWarn, d.lastPos("BBFILE_COLLECTIONS"), "the layer %s does not say with LAYERSERIES_COMPAT_%s which releases it fits", c, c)
		case len(series) == 0:
			problem = d.missing(&Error{Type: "BBHandledException", Msg: fmt.Sprintf("no core layer is there for the layer %s: LAYERSERIES_CORENAMES is not set", c), Pos: d.lastPos("LAYERSERIES_COMPAT_" + c)})
		case !slices.ContainsFunc(compat[c], func(s string) bool { return slices.Contains(series, s) }):
			problem = d.layerError("LAYERSERIES_COMPAT_"+c, "the layer %s fits %s, the core layer is %s", c, strings.Join(compat[c], " "), strings.Join(series, " "))
		}
		if err := d.step(problem); err != nil {
			return err
		}
	}
	slices.Sort(series)
	return d.Set("LAYERSERIES_CORENAMES", strings.Join(slices.Compact(series), " "))
}

func (d *Datastore) layerError(variable, format string, args ...any) error {
	return &Error{Type: "BBHandledException", Msg: fmt.Sprintf(format, args...), Pos: d.lastPos(variable)}
}

// loadBase reads conf/bitbake.conf. Without oe-core it reads the files that
// bitbake.conf would include and that people edit, in the same order, and
// says that OVERRIDES is only known in part.
func (d *Datastore) loadBase() error {
	if cache, err := d.get("BB_CACHEDIR"); d.step(err) == nil && cache.s == "" {
		if err := d.Set("BB_CACHEDIR", "${TOPDIR}/cache"); err != nil {
			return err
		}
	}
	bbpath, err := d.get("BBPATH")
	if err := d.step(err); err != nil {
		return err
	}
	if d.loader.which(bbpath.s, "conf/bitbake.conf") != "" {
		return d.stepFile("conf/bitbake.conf", "parse", true)
	}
	missing := &Error{Type: "ParseError", Msg: "conf/bitbake.conf is not on BBPATH: oe-core is missing, and so are its defaults, machines and classes", Err: &notFound{"conf/bitbake.conf"}}
	if err := d.missing(missing); err != nil {
		return err
	}
	for name, val := range map[string]string{"MACHINEOVERRIDES": "${MACHINE}", "DISTROOVERRIDES": "${DISTRO}"} {
		if err := d.setFlag(name, "_defaultval", flagValue{text: text{s: val}}, Event{Operand: val, Internal: true}); err != nil {
			return err
		}
	}
	overrides := text{"${MACHINEOVERRIDES}:${DISTROOVERRIDES}:forcevariable", &unknown{"oe-core's part of OVERRIDES is missing"}}
	if err := d.set("OVERRIDES", overrides, parsing, Event{Operand: overrides.s, Internal: true}); err != nil {
		return err
	}
	for _, name := range []string{"site", "auto", "local", "multiconfig/${BB_CURRENT_MC}", "machine/${MACHINE}", "machine-sdk/${SDKMACHINE}", "distro/${DISTRO}"} {
		t, err := d.expand(text{s: "conf/" + name + ".conf"}, "", nil)
		if err := d.step(err); err != nil {
			return err
		}
		file := d.loader.which(bbpath.s, t.s)
		if file == "" || strings.Contains(t.s, "${") {
			continue
		}
		if err := d.stepFile(file, "include", false); err != nil {
			return err
		}
	}
	return nil
}
