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
