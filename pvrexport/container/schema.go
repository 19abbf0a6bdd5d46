package container

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// SchemaID names the published schema.
const SchemaID = "https://github.com/pvkit/pvkit/raw/main/pvrexport/container/schema.json"

// Schema returns the JSON Schema (draft 2020-12) of a container.yaml, for
// editors. It is made from the table that Parse reads with.
func Schema() []byte {
	s := root(newDefinition("")).schema
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["$id"] = SchemaID
	s["title"] = "container.yaml"
	s["description"] = "A container for Pantavisor: what is in it and how a device runs it."
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		// The schema holds maps, lists, strings and numbers only.
		panic(err)
	}
	return b.Bytes()
}

// Reference returns the part of README.md that lists every key, in Markdown.
func Reference() []byte {
	var b strings.Builder
	reference(&b, root(newDefinition("")).keys, "", 0)
	return []byte(b.String())
}

func reference(b *strings.Builder, keys []key, prefix string, depth int) {
	fmt.Fprintln(b, "| key | value | meaning |\n|---|---|---|")
	var deeper []key
	for _, k := range keys {
		need := ""
		if k.required {
			need = " **Needed.**"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s%s |\n", k.name, cell(k.into.want), cell(k.doc), need)
		if len(k.into.keys) > 0 {
			deeper = append(deeper, k)
		}
	}
	for _, k := range deeper {
		fmt.Fprintf(b, "\n%s `%s`\n\n", strings.Repeat("#", min(depth+3, 6)), prefix+k.name)
		reference(b, k.into.keys, prefix+k.name+".", depth+1)
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
