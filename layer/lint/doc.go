// Package lint finds mistakes in BitBake layers, kas files and Kconfig files
// together: the ones that BitBake accepts in silence above all.
//
// Open finds a Project: the layers to look at, the layers below them, the kas
// files and Kconfig, and the configurations that they describe. Run asks every
// rule about every file, every configuration and every recipe, and returns
// findings. A rule is one file, rule_*.go, with its examples in
// testdata/rules: they are its documentation and its test.
//
// Rules decide on evaluated state (package bitbake), not on text. A rule that
// cannot know says nothing.
package lint
