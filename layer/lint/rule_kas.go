package lint

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/layer/bitbake"
)

func duplicateKey() *Rule {
	return &Rule{
		ID: "kas-duplicate-key", Severity: diag.Error,
		Summary: "a key that stands twice in one mapping of a kas file",
		Why:     "kas reads YAML with a reader that takes the last one and drops the others without a word.",
		Fix:     "Merge the two, or give one another name.",
		project: func(p *Pass) {
			for _, k := range p.kas {
				if k.root != nil {
					duplicates(p, k, k.root, 0)
				}
			}
		},
	}
}

// maxDepth bounds the nesting of YAML that is followed.
const maxDepth = 100

func duplicates(p *Pass, k *kasFile, n *yaml.Node, depth int) {
	if depth > maxDepth || n.Kind == yaml.AliasNode {
		return
	}
	if n.Kind == yaml.MappingNode {
		first := map[string]*yaml.Node{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if old := first[key.Value]; old != nil {
				d := diag.Diagnostic{Pos: k.pos(key), Message: fmt.Sprintf("the key %s is here a second time: the first one is lost", key.Value)}
				d.Related = []diag.Related{{Pos: k.pos(old), Message: "the first one"}}
				p.report(d)
			}
			first[key.Value] = key
		}
	}
	for _, c := range n.Content {
		duplicates(p, k, c, depth+1)
	}
}

func lostID() *Rule {
	return &Rule{
		ID: "kas-lost-id", Severity: diag.Warning,
		Summary: "a local_conf_header entry that hides an included file's entry of that id, with lines that are gone",
		Why: "kas merges by key: an entry of the same id replaces the one of an included file as a whole. That is " +
			"how an entry is changed on purpose, or emptied; the rule speaks when the new one sets something, and the " +
			"old one sets variables that the new one does not.",
		Fix:     "Give the entry an id of its own, or repeat the lines that are lost.",
		project: lostIDs,
	}
}

func lostIDs(p *Pass) {
	byName := map[string]*kasFile{}
	for _, k := range p.kas {
		byName[k.src.name] = k
	}
	for _, k := range p.kas {
		seen := map[string]bool{k.src.name: true}
		var visit func(k2 *kasFile)
		visit = func(from *kasFile) {
			for _, n := range from.includes {
				inc := byName[p.kasInclude(from, n.Value)]
				if inc == nil || seen[inc.src.name] {
					continue
				}
				seen[inc.src.name] = true
				compareHeaders(p, k, inc)
				visit(inc)
			}
		}
		visit(k)
	}
}

func compareHeaders(p *Pass, k, inc *kasFile) {
	for _, h := range k.headers {
		for _, old := range inc.headers {
			if h.id != old.id {
				continue
			}
			now := variables(h.text.Value)
			if len(now) == 0 {
				continue // emptied on purpose
			}
			var lost []string
			for name := range variables(old.text.Value) {
				if !now[name] {
					lost = append(lost, name)
				}
			}
			if len(lost) == 0 {
				continue
			}
			d := diag.Diagnostic{Pos: k.pos(h.key), Message: fmt.Sprintf("the entry %s replaces that of %s, and its lines for %s are gone",
				h.id, p.Name(inc.src.name), strings.Join(sortedWords(lost), ", "))}
			d.Related = []diag.Related{{Pos: inc.pos(old.key), Message: "the entry that is lost"}}
			p.report(d)
		}
	}
}

// variables are the names that a text assigns to, without overrides.
func variables(text string) map[string]bool {
	f, _ := bitbake.Parse("local.conf", []byte(text))
	out := map[string]bool{}
	for a := range assigns(f) {
		base, _ := splitName(a.Name)
		out[base] = true
	}
	return out
}
