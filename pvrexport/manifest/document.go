package manifest

import (
	"fmt"
	"io"
	"strings"
)

const documentHead = `# Template arguments

Made from the table in ` + "`table.go`" + `; write it anew with ` + "`UPDATE_GOLDEN=1 go test ./pvrexport/manifest`" + `.

An argument that is not in this table is a warning and has no effect. A value of
the wrong type is an error. Empty texts and empty lists count as "not given"
unless the table says otherwise.

| argument | type | default | effect | what for |
|---|---|---|---|---|
`

const documentTail = `
## Names and paths

A container's name, and that of a volume or disk, has letters, digits, ".", "_",
"+" and "-", starts with a letter or digit, and is at most 64 long: it becomes
part of paths, of colon-separated overlay lists, and the container's host name.
"bsp" is taken. Paths in mounts hold no blanks, quotes, backslashes or "..".

Persistent folders: the key is ` + "`/path`" + ` (the folder replaces the image's),
` + "`ovl:/path`" + ` (an overlay over the image's folder) or ` + "`lxc-overlay`" + ` (everything else
that the container writes); the value is ` + "`permanent`, `revision` or `boot`" + `, with
` + "`@disk`" + ` behind it for a disk of device.json.

Values in run.json and services.json hold no quotes, backslashes or control
characters, since the device does not undo JSON's escapes; and none may be
spelled like a key that the device looks for beside it (a service called
"target", a pool called "ip").

## Where this differs from pvr

The same arguments give the same lxc.container.conf, byte for byte, and the same
run.json as pvr's template ` + "`builtin-lxc-docker`" + `, except here:

| what | pvr | here |
|---|---|---|
| ` + "`0`, `no`, `off`, `false`" + ` as text for a boolean | true, as every text | false |
| other text for a boolean | true | error |
| text where a list is expected | error without a place, or invalid for the device | error that says what is right |
| two or more volumes | run.json is not JSON | a list |
| dm-verity | only ever for the root image, even if another image is named | for just the images named |
| one image named twice in volumes | mounted twice | once |
| quotes, line breaks and other special characters | written as they are: broken JSON, or lines of their own in lxc.container.conf | escaped, or an error where the device could not read them |
| Cmd with several words | no blank between them | a blank; lxc reads the same words |
| words with quotes; a command that starts and ends with a quote | lxc reads other words | quoted so that lxc reads just these words, or an error |
| Entrypoint as text, together with Cmd | Cmd is lost | Cmd is appended |
| environment without "=" | lxc refuses the file if the device does not know the variable | error |
| unknown PV_LXC_NETWORK_TYPE | the container has no network | error |
| unknown persistence, or a key that is no path | the folder lives until the next boot, or is never mounted | error |
| unknown restart policy, goal, namespace, automatic mount | the device refuses the revision or the container | error |
| two persistent folders with one name | the last one wins | error |
| PV_ROLES as an empty list | the container has all rights | error |
| mount targets with a leading slash | lxc passes over the mount | mounted below the container's root |
| rootfs_url | a path of the build machine | only a URL with a host (without credentials) or a registry reference |
| args in src.json | as given | words for false left out, service names as a list: what pvr would read otherwise |
`

// Document writes the reference page of the arguments as Markdown.
func Document(w io.Writer) error {
	var b strings.Builder
	b.WriteString(documentHead)
	for _, a := range table {
		kind := a.Type.String()
		switch {
		case a.Type == Choice:
			kind = "one of `" + strings.Join(a.Values, "`, `") + "`"
		case len(a.Values) > 0:
			kind += " out of `" + strings.Join(a.Values, "`, `") + "`"
		}
		doc := a.Doc
		if a.Since != "" {
			doc += " (pvr " + a.Since + ")"
		}
		if a.Deprecated != "" {
			doc += "; deprecated: " + a.Deprecated
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", a.Name, kind, a.Default, a.Effect, doc)
	}
	b.WriteString(documentTail)
	_, err := io.WriteString(w, b.String())
	return err
}
