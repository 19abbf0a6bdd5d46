package kconfig_test

import (
	"testing"

	"github.com/pvkit/pvkit/kconfig"
)

// BenchmarkProject reads and evaluates the project's own menu.
func BenchmarkProject(b *testing.B) {
	for b.Loop() {
		tree, err := kconfig.Load(kconfig.ProjectFiles(), "Kconfig", kconfig.Options{})
		if err != nil {
			b.Fatal(err)
		}
		conf := tree.New()
		for _, s := range tree.Symbols {
			conf.Str(s)
		}
	}
}

// BenchmarkCheck looks for everything that Check finds without a project.
func BenchmarkCheck(b *testing.B) {
	tree, err := kconfig.Load(kconfig.ProjectFiles(), "Kconfig", kconfig.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := kconfig.Check(tree, kconfig.Project{}); err != nil {
			b.Fatal(err)
		}
	}
}
