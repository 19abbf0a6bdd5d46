package lint

import (
	"context"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/kconfig"
	"github.com/pvkit/pvkit/layer/bitbake"
)

// Config is a configuration that the project describes: a build directory, a
// kas file, a distro, a machine, a multiconfig.
type Config struct {
	// Name says what it is: "kas/app.yaml", "distro panta".
	Name string
	// Kind is "build", "kas", "kconfig", "distro", "machine", "multiconfig" or
	// "default".
	Kind string
	// File is what describes it.
	File string
	// Machine and Distro as far as it names them.
	Machine, Distro string

	topDir string
	real   bool // topDir is a build directory that exists
	layers []string
	multi  string
	env    map[string]string
}

// configure lists the configurations.
func (p *Project) configure(o OpenOptions) {
	layers := slices.Concat(p.Below, p.Layers)
	add := func(c *Config) {
		p.settle(c, layers)
		p.Configs = append(p.Configs, c)
	}
	if o.BuildDir != "" {
		add(&Config{Name: "build directory " + o.BuildDir, Kind: "build", File: o.BuildDir + "/conf/local.conf", topDir: path.Clean(o.BuildDir), real: true})
	}
	for _, k := range p.kas {
		if k.root == nil {
			continue
		}
		c := &Config{Name: p.Name(k.src.name), Kind: "kas", File: k.src.name, Machine: k.machine, Distro: k.distro}
		if len(k.headers) == 0 && (k.machine == "" || k.distro == "") {
			// A fragment that sets little is no configuration to report on,
			// but a person may ask for it by name.
			p.settle(c, layers)
			p.fragments = append(p.fragments, c)
		} else {
			add(c)
		}
		p.embed(c, k.localConf(c.topDir+"/conf/local.conf"))
	}
	for _, l := range p.Layers {
		for _, name := range p.files {
			rel, ok := strings.CutPrefix(name, l+"/conf/")
			if !ok || path.Ext(rel) != ".conf" {
				continue
			}
			stem := strings.TrimSuffix(path.Base(rel), ".conf")
			switch path.Dir(rel) {
			case "distro":
				add(&Config{Name: "distro " + stem, Kind: "distro", File: name, Distro: stem})
			case "machine":
				add(&Config{Name: "machine " + stem, Kind: "machine", File: name, Machine: stem})
			case "multiconfig":
				add(&Config{Name: "multiconfig " + stem, Kind: "multiconfig", File: name, multi: stem})
			}
		}
	}
	for i, e := range p.kconfigLines() {
		c := &Config{Name: "Kconfig default " + strconv.Itoa(i+1), Kind: "kconfig", File: e.host.name}
		add(c)
		e.name = c.topDir + "/conf/local.conf"
		p.embed(c, e)
	}
	if len(p.Layers) > 0 {
		add(&Config{Name: "default", Kind: "default", File: p.Layers[0] + "/conf/layer.conf"})
	}
}

// settle gives a configuration its build directory and its layers. One that
// exists in thought only, in a tree without layers, gets an empty list of them.
func (p *Project) settle(c *Config, layers []string) {
	if c.topDir == "" {
		c.topDir = p.Root + "/build/" + strings.ReplaceAll(c.Name, " ", "-")
	}
	if c.real {
		return
	}
	c.layers = layers
	if len(layers) == 0 {
		p.Loader.Overlay(c.topDir+"/conf/bblayers.conf", []byte("BBPATH = \"${TOPDIR}\"\nBBLAYERS = \"\"\n"))
	}
}

func (p *Project) embed(_ *Config, e *embedded) {
	e.self = newSource(e.name, string(e.text))
	p.embedded[e.name] = e
	p.Loader.Overlay(e.name, e.text)
}

// Load evaluates a configuration.
func (p *Project) Load(ctx context.Context, c *Config) (*bitbake.Datastore, []diag.Diagnostic, error) {
	env := map[string]string{}
	if c.Kind == "distro" {
		env["DISTRO"] = c.Distro
	}
	if c.Kind == "machine" {
		env["MACHINE"] = c.Machine
	}
	maps.Copy(env, c.env)
	return bitbake.LoadConfig(ctx, bitbake.Options{
		Loader: p.Loader, TopDir: c.topDir, Layers: c.layers, Env: env, MultiConfig: c.multi,
		Host: bitbake.Host{System: "Linux"}, // BitBake runs nowhere else
	})
}

// kconfigLines are the string defaults that end up as lines of local.conf:
// those of KAS_LOCAL_* symbols.
func (p *Project) kconfigLines() []*embedded {
	var out []*embedded
	for _, m := range p.kconfigs {
		for _, s := range m.tree.Symbols {
			if s.Type != kconfig.String || !strings.HasPrefix(s.Name, "KAS_LOCAL_") {
				continue
			}
			for _, d := range s.Defaults {
				if sym, ok := d.Value.(*kconfig.Symbol); ok && sym.Const && sym.Name != "" {
					if e := p.kconfigLine(m.dir, d.Pos, sym.Name); e != nil {
						out = append(out, e)
					}
				}
			}
		}
	}
	return out
}

// kconfigLine maps the quoted text of a default statement; nil when it is not
// there as expected, as after a macro.
func (p *Project) kconfigLine(dir string, pos diag.Position, value string) *embedded {
	src, err := p.source(path.Join(dir, pos.File))
	if err != nil {
		return nil
	}
	line := src.line(pos.Line)
	open := strings.IndexByte(line, '"')
	if open < 0 {
		return nil
	}
	e := &embedded{host: src}
	start := src.offset(pos.Line, 1)
	for i := open + 1; i < len(line) && line[i] != '"'; i++ {
		from := i
		if line[i] == '\\' && i+1 < len(line) {
			i++
		}
		e.text, e.at = append(e.text, line[i]), append(e.at, start+from)
	}
	if string(e.text) != value {
		return nil
	}
	e.literal("\n", start+len(line))
	return e
}
