package pvrexport

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// signatures checks the structure of each _sigs/<part>.json against what the
// device can read (signature.c); package pvs checks the cryptography.
func (c *stateCheck) signatures() {
	for key := range c.state.All() {
		name, ok := strings.CutPrefix(key, sigsDir+"/")
		if !ok {
			continue
		}
		if !strings.HasSuffix(name, ".json") || strings.Contains(name, "/") {
			c.warnf("sig-name", key, "a signature is named %s/<part>.json", sigsDir)
		}
		sig, err := c.state.signature(key)
		if err != nil {
			c.errorf("sig-form", key, "%v", err)
			continue
		}
		c.signature(key, sig)
	}
}

func (c *stateCheck) signature(key string, sig *signature) {
	if sig.Spec != "pvs@2" {
		c.errorf("sig-spec", key, `"#spec" is %q, not "pvs@2"`, sig.Spec)
	}
	if _, err := base64.RawURLEncoding.DecodeString(*sig.Signature); err != nil || *sig.Signature == "" {
		c.errorf("sig-form", key, `"signature" is not base64url`)
	}
	h := &sig.header
	if h.Alg != "RS256" {
		c.errorf("sig-alg", key, `"alg" is %q; devices verify only RS256`, h.Alg)
	}
	if h.Typ != "PVS" {
		c.errorf("sig-header", key, `"typ" is %q, not "PVS"`, h.Typ)
	}
	// The device looks for the first string "pvs", key or not.
	if i := bytes.Index(sig.raw, []byte(`"pvs"`)); i >= 0 && !bytes.HasPrefix(bytes.TrimLeft(sig.raw[i+5:], " \t\r\n"), []byte(":")) {
		c.errorf("sig-header", key, `the header holds "pvs" as a value before the key "pvs": devices crash`)
	}
	for i, cert := range h.X5C {
		if _, err := base64.StdEncoding.DecodeString(cert); err != nil {
			c.errorf("sig-header", key, `"x5c[%d]" is not base64`, i)
		}
	}
	if len(h.X5C) == 0 {
		c.add(diag.Note, "sig-header", key, `without "x5c" devices need the public key in /etc/pantavisor/pvs/pub`)
	}
	if h.PVS == nil || h.PVS.Include == nil || h.PVS.Exclude == nil {
		c.errorf("sig-header", key, `the header needs "pvs" with "include" and "exclude": devices crash without`)
		return
	}
	for _, list := range []struct {
		name     string
		patterns []string
	}{{"include", *h.PVS.Include}, {"exclude", *h.PVS.Exclude}} {
		for i, pattern := range list.patterns {
			if why := badPattern(pattern); why != "" {
				c.errorf("sig-pattern", key, "%q is %q: %s", fmt.Sprintf("pvs.%s[%d]", list.name, i), pattern, why)
			}
		}
	}
	for member := range c.state.All() {
		if sig.covers(member) {
			return
		}
	}
	c.warnf("sig-empty", key, "the signature covers nothing in this state")
}

// badPattern says why pvr (doublestar) and the device (fnmatch) read a
// pattern differently; "dir/**", exact keys and single-level wildcards mean the
// same to both.
func badPattern(p string) string {
	base := strings.TrimSuffix(p, "/**")
	switch {
	case p == "**":
		return `devices match nothing with "**" alone`
	case strings.Contains(base, "**"):
		return `devices match only one level with "**" inside`
	case strings.ContainsAny(base, "{}"):
		return "devices do not know alternatives in braces"
	case strings.HasSuffix(p, "/**") && strings.ContainsAny(base, "*?[\\"):
		return `devices match only one level with "**" behind other wildcards`
	}
	return ""
}
