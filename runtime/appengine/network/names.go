package network

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"
)

// marker names what one engine makes, so that it finds its own things again,
// even after it was killed, and leaves those of others alone. Interfaces carry
// it in their alias (ip-link(8) shows it), the nftables table in its name.
type marker string

func newMarker(tag string) marker {
	sum := sha256.Sum256([]byte(tag))
	return marker(hex.EncodeToString(sum[:4]))
}

const tablePrefix = "pvkit_"

func (m marker) table() string { return tablePrefix + string(m) }

func (m marker) prefix() string { return "pvkit/" + string(m) + "/" }

func (m marker) bridge() string { return m.prefix() + "bridge" }

// end is the alias of the host's end of a container's interface.
func (m marker) end(container string, index int) string {
	const most = 200 // of the 255 bytes that an alias can have
	if len(container) > most {
		sum := sha256.Sum256([]byte(container))
		container = hex.EncodeToString(sum[:])
	}
	return fmt.Sprintf("%send/%d/%s", m.prefix(), index, container)
}

func (m marker) owns(alias string) bool { return strings.HasPrefix(alias, m.prefix()) }

// name is the host's name of the end: 15 bytes, of which 13 are a digest of
// 65 bits. attempt makes another one, should somebody have it.
func (m marker) name(container string, index, attempt int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d\x00%s", m, index, attempt, container))
	return "pv" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:13]
}
