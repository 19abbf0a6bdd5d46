package kas

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// LocalConf is the conf/local.conf that kas writes (libcmds.py,
// WriteBBConfig): the local_conf_header blocks in the byte order of their
// ids, whatever the order of the files, then the settings.
func (c *Config) LocalConf() (string, error) {
	head, err := c.confHeader("local_conf_header")
	if err != nil {
		return "", err
	}
	out := head + fmt.Sprintf("MACHINE ??= \"%s\"\nDISTRO ??= \"%s\"\nBBMULTICONFIG ?= \"%s\"\n",
		c.Machine(), c.Distro(), strings.Join(c.Multiconfigs(), " "))
	if c.buildSystem() == "isar-rootless" {
		out += "ISAR_ROOTLESS ?= \"1\"\n"
	}
	return out, nil
}

// BBLayersConf is the conf/bblayers.conf that kas writes.
func (c *Config) BBLayersConf() (string, error) {
	head, err := c.confHeader("bblayers_conf_header")
	if err != nil {
		return "", err
	}
	layers, err := c.Layers()
	if err != nil {
		return "", err
	}
	paths := make([]string, len(layers))
	for i, l := range layers {
		paths[i] = "${TOPDIR}/" + relative(c.r.o.BuildDir, l.Dir)
	}
	return head + "BBLAYERS ?= \" \\\n    " + strings.Join(paths, " \\\n    ") +
		"\"\nBBPATH ?= \"${TOPDIR}\"\nBBFILES ??= \"\"\n", nil
}

// Layers are the layers in the order of BBLAYERS.
func (c *Config) Layers() ([]Layer, error) {
	repos, err := c.Repos()
	if err != nil {
		return nil, err
	}
	var layers []Layer
	for _, r := range repos {
		layers = append(layers, r.Layers...)
	}
	slices.SortStableFunc(layers, func(a, b Layer) int {
		if c.r.o.Dialect == Pantacor {
			return cmp.Compare(relative(c.r.o.BuildDir, a.Dir), relative(c.r.o.BuildDir, b.Dir))
		}
		return cmp.Or(-cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Repo, b.Repo), cmp.Compare(a.Name, b.Name))
	})
	return layers, nil
}

// Block is a part of local.conf or bblayers.conf.
type Block struct {
	ID    string
	Entry *Entry
}

// Blocks returns the parts of local_conf_header or bblayers_conf_header in
// the order in which they are written. The error is about ids that kas
// cannot sort.
func (c *Config) Blocks(key string) ([]Block, error) {
	entries := c.Root.Get(key).Entries()
	for _, e := range entries[min(len(entries), 1):] {
		if class := sortClass(e.Key); class == "" || class != sortClass(entries[0].Key) {
			bad := e.Key
			if bad.Kind == String {
				bad = entries[0].Key
			}
			return nil, &FileError{bad.Pos.File, []diag.Diagnostic{{Pos: bad.Pos, Severity: diag.Error, Rule: RuleSchema, Message: fmt.Sprintf(
				"%s has the id %s: kas cannot sort ids of different types; write it in quotes", key, show(bad))}}}
		}
	}
	out := make([]Block, len(entries))
	for i, e := range sortedEntries(entries) {
		out[i] = Block{ID: keyText(e.Key), Entry: e}
	}
	return out, nil
}

func (c *Config) confHeader(key string) (string, error) {
	blocks, err := c.Blocks(key)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, block := range blocks {
		fmt.Fprintf(&b, "# %s\n%s\n", block.ID, block.Entry.Value.Text)
	}
	return b.String(), nil
}

// keyText writes a key as Python's str does.
func keyText(k *Value) string {
	switch {
	case k.Kind == Null:
		return "None"
	case k.Kind == Bool && k.Text == "true":
		return "True"
	case k.Kind == Bool:
		return "False"
	}
	return k.Text
}

// layerDir is the directory of a layer: "" is the root of the repository.
func layerDir(repo, name string) string {
	if strings.HasPrefix(name, "/") {
		return inFS(".", name)
	}
	return path.Join(repo, name)
}
