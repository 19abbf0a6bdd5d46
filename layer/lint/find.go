package lint

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

// NotFoundError is a name that the project does not have.
type NotFoundError struct {
	What, Name, Nearest string
	Have                []string
}

func (e *NotFoundError) Error() string {
	msg := fmt.Sprintf("there is no %s %s", e.What, e.Name)
	if e.Nearest != "" {
		msg += "; did you mean " + e.Nearest + "?"
	} else if len(e.Have) > 0 && len(e.Have) <= 20 {
		msg += "; there are: " + strings.Join(e.Have, ", ")
	}
	return msg
}

// Main is the configuration to use when none is named: the build directory,
// else the first kas file that names machine and distro, else the layers'
// defaults. It is nil for a project without any.
func (p *Project) Main() *Config {
	if len(p.Configs) == 0 {
		return nil
	}
	return p.recipeConfig()
}

// FindConfig returns a configuration by its name, by the file that describes
// it, or by a machine's or distro's plain name.
func (p *Project) FindConfig(name string) (*Config, error) {
	var have []string
	for _, c := range slices.Concat(p.Configs, p.fragments) {
		_, plain, _ := strings.Cut(c.Name, " ")
		if c.Name == name || c.File == name || plain == name || strings.HasSuffix(c.File, "/"+name) {
			return c, nil
		}
		have = append(have, c.Name)
	}
	return nil, &NotFoundError{"configuration", name, diag.Nearest(name, have), have}
}

// With returns the configuration with another machine or distro; "" keeps
// what it has.
func (c *Config) With(machine, distro string) *Config {
	other := *c
	other.env = map[string]string{}
	if machine != "" {
		other.env["MACHINE"], other.Machine = machine, machine
	}
	if distro != "" {
		other.env["DISTRO"], other.Distro = distro, distro
	}
	return &other
}

// FindRecipe returns the files of a recipe, given by its path or by its name;
// of several versions the highest is taken.
func (p *Project) FindRecipe(name string) (file string, err error) {
	var found, have []string
	for _, f := range slices.Concat(p.below, p.files) {
		if path.Ext(f) != ".bb" {
			continue
		}
		stem := strings.TrimSuffix(path.Base(f), ".bb")
		pn, _, _ := strings.Cut(stem, "_")
		have = append(have, pn)
		if f == name || stem == name || pn == name || path.Base(f) == name {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		return "", &NotFoundError{"recipe", name, diag.Nearest(name, have), nil}
	}
	slices.SortStableFunc(found, func(a, b string) int { return compareVersions(path.Base(a), path.Base(b)) })
	return found[len(found)-1], nil
}

var numberOrText = regexp.MustCompile(`\d+|[^\d]+`)

// compareVersions compares numbers as numbers.
func compareVersions(a, b string) int {
	as, bs := numberOrText.FindAllString(a, -1), numberOrText.FindAllString(b, -1)
	return slices.CompareFunc(as, bs, func(x, y string) int {
		nx, errX := strconv.Atoi(x)
		ny, errY := strconv.Atoi(y)
		if errX == nil && errY == nil {
			return cmp.Compare(nx, ny)
		}
		return cmp.Compare(x, y)
	})
}

// Appends lists the bbappends of a recipe in the order in which BitBake reads
// them: by the priority of their layers, of those that BBFILES names.
func (p *Project) Appends(d *bitbake.Datastore, recipe string) []string {
	stem := strings.TrimSuffix(path.Base(recipe), ".bb")
	var out []string
	for _, a := range slices.Concat(p.below, p.files) {
		if path.Ext(a) == ".bbappend" && appendsTo(a, stem) {
			out = append(out, a)
		}
	}
	return orderAppends(d, out)
}

// appendsTo matches by name, "%" standing for any end of it.
func appendsTo(file, stem string) bool {
	want := strings.TrimSuffix(path.Base(file), ".bbappend")
	prefix, wild := strings.CutSuffix(want, "%")
	return want == stem || wild && strings.HasPrefix(stem, prefix)
}

func orderAppends(d *bitbake.Datastore, files []string) []string {
	if len(files) == 0 {
		return nil
	}
	patterns, known := d.Words("BBFILES")
	if known {
		files = slices.DeleteFunc(slices.Clone(files), func(f string) bool {
			return !slices.ContainsFunc(patterns, func(glob string) bool {
				ok, err := path.Match(path.Clean(glob), f)
				return err == nil && ok
			})
		})
	}
	priorities := map[string]int{}
	names, _ := d.Words("BBFILE_COLLECTIONS")
	for _, c := range names {
		pattern, _, err := d.Get("BBFILE_PATTERN_" + c)
		prio, _, err2 := d.Get("BBFILE_PRIORITY_" + c)
		n, err3 := strconv.Atoi(strings.TrimSpace(prio.Text))
		re, err4 := regexp.Compile(pattern.Text)
		if cmp.Or(err, err2, err3, err4) != nil || pattern.Text == "" {
			continue
		}
		for _, f := range files {
			if re.MatchString(f) {
				priorities[f] = n
			}
		}
	}
	slices.SortStableFunc(files, func(a, b string) int { return cmp.Compare(priorities[a], priorities[b]) })
	return files
}
