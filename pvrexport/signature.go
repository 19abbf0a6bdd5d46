package pvrexport

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
)

// signature is the structure of a part's signature, "_sigs/<part>.json"
// (pvr's libpvr/pvslib.go). Package pvs checks the cryptography.
type signature struct {
	Spec      string  `json:"#spec"`
	Protected *string `json:"protected"`
	Signature *string `json:"signature"`

	raw    []byte    // the protected header, decoded
	header sigHeader // the same, as JSON
}

type sigHeader struct {
	Alg string   `json:"alg"`
	Typ string   `json:"typ"`
	X5C []string `json:"x5c"`
	PVS *struct {
		Include *[]string `json:"include"`
		Exclude *[]string `json:"exclude"`
	} `json:"pvs"`
}

// Signature is what the signature of a part says of itself. Nothing in it is
// verified.
type Signature struct {
	Key              string // "_sigs/<part>.json"
	Alg              string
	Include, Exclude []string // patterns of the keys that it covers, and does not
	Certificates     int      // that it carries, the leaf first
	Err              error    // why it cannot be read; then the rest is empty
}

// Signatures reads every part's signature, by key.
func (s *State) Signatures() []Signature {
	var out []Signature
	for key := range s.All() {
		if !strings.HasPrefix(key, sigsDir+"/") {
			continue
		}
		sig, err := s.signature(key)
		if err != nil {
			out = append(out, Signature{Key: key, Err: err})
			continue
		}
		g := Signature{Key: key, Alg: sig.header.Alg, Certificates: len(sig.header.X5C)}
		if pvs := sig.header.PVS; pvs != nil {
			g.Include, g.Exclude = deref(pvs.Include), deref(pvs.Exclude)
		}
		out = append(out, g)
	}
	return out
}

func deref(patterns *[]string) []string {
	if patterns == nil {
		return nil
	}
	return *patterns
}

func (s *State) signature(key string) (*signature, error) {
	v, ok := s.members[key]
	if !ok {
		return nil, fmt.Errorf("%s: no such key", key)
	}
	var sig signature
	if err := json.Unmarshal([]byte(v.json), &sig); err != nil {
		return nil, fmt.Errorf("not a signature: %w", err)
	}
	if sig.Protected == nil || sig.Signature == nil {
		return nil, errors.New(`not a signature: it needs "protected" and "signature"`)
	}
	var err error
	if sig.raw, err = base64.RawURLEncoding.DecodeString(*sig.Protected); err != nil {
		return nil, fmt.Errorf(`"protected" is not base64url: %w`, err)
	}
	if err = json.Unmarshal(sig.raw, &sig.header); err != nil {
		return nil, fmt.Errorf(`"protected" holds no JSON header: %w`, err)
	}
	return &sig, nil
}

// covers reports whether one of the include patterns takes in the key.
func (s *signature) covers(key string) bool {
	if s.header.PVS == nil || s.header.PVS.Include == nil {
		return false
	}
	for _, pattern := range *s.header.PVS.Include {
		if prefix, ok := strings.CutSuffix(pattern, "**"); ok && strings.HasSuffix(prefix, "/") {
			if strings.HasPrefix(key, prefix) {
				return true
			}
		} else if ok, _ := path.Match(pattern, key); ok || pattern == key {
			return true
		}
	}
	return false
}
