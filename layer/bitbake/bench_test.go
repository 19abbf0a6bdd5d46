package bitbake_test

import (
	"context"
	"os"
	"testing"

	"github.com/pvkit/pvkit/layer/bitbake"
)

// BenchmarkConfig evaluates one global configuration of a real tree, files
// already parsed: what each further configuration costs.
func BenchmarkConfig(b *testing.B) {
	_, list := layers(b)
	dir := buildDir(b, list, realConfs["poky"])
	l := bitbake.NewLoader(os.DirFS("/"))
	loadReal(b, l, dir, false)
	b.ReportAllocs()
	for b.Loop() {
		d := loadReal(b, l, dir, false)
		if v, _, _ := d.Get("DISTRO_FEATURES"); !v.Known {
			b.Fatal(v.Why)
		}
	}
}

// BenchmarkConfigCold parses the files as well.
func BenchmarkConfigCold(b *testing.B) {
	_, list := layers(b)
	dir := buildDir(b, list, realConfs["poky"])
	b.ReportAllocs()
	for b.Loop() {
		loadReal(b, bitbake.NewLoader(os.DirFS("/")), dir, false)
	}
}

// BenchmarkRecipe evaluates recipes of a real tree over one configuration.
func BenchmarkRecipe(b *testing.B) {
	_, list := layers(b)
	dir := buildDir(b, list, realConfs["poky"])
	l := bitbake.NewLoader(os.DirFS("/"))
	conf := loadReal(b, l, dir, false)
	x := conf.Index()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		_, _, err := bitbake.LoadRecipe(context.Background(), conf, x.Recipes[i%len(x.Recipes)], bitbake.RecipeOptions{Index: x})
		if err != nil {
			b.Log(err)
		}
		i++
	}
}

// BenchmarkVectors evaluates the random configurations, a synthetic load that
// needs no checkout.
func BenchmarkVectors(b *testing.B) {
	cases := readCases(b, "testdata/vectors.jsonl.gz")
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		_, _ = evalCase(&cases[i%len(cases)])
		i++
	}
}
