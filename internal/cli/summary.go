package cli

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

// summary is what `pvkit inspect` says of a bundle.
type summary struct {
	File        string             `json:"file"`
	Compression string             `json:"compression"`
	Size        int64              `json:"size"` // bytes after decompression
	Objects     int                `json:"objects"`
	ObjectSize  int64              `json:"objectSize"`
	Canonical   bool               `json:"canonical"` // as devices need the state to be
	Containers  []containerSummary `json:"containers"`
	Other       []string           `json:"other"` // keys of the state that belong to no container
	Signatures  []signatureSummary `json:"signatures"`
}

type containerSummary struct {
	Name          string          `json:"name"`
	Group         string          `json:"group,omitempty"`
	Runlevel      string          `json:"runlevel,omitempty"`
	Type          string          `json:"type,omitempty"`
	RestartPolicy string          `json:"restartPolicy,omitempty"`
	StatusGoal    string          `json:"statusGoal,omitempty"`
	Roles         json.RawMessage `json:"roles,omitempty"`
	Storage       []storage       `json:"storage"`
	Provides      []service       `json:"provides"`
	Requires      []service       `json:"requires"`
	Optional      []service       `json:"optional"`
	Pool          string          `json:"networkPool,omitempty"`
	Config        []string        `json:"config"` // the configuration overlay's files
	Images        []imageSummary  `json:"images"`
	Signed        bool            `json:"signed"`
}

type storage struct {
	Name        string `json:"name"`
	Persistence string `json:"persistence"`
	Disk        string `json:"disk,omitempty"`
}

type service struct {
	Name      string `json:"name"`
	Type      string `json:"type,omitempty"`
	Socket    string `json:"socket,omitempty"`
	Role      string `json:"role,omitempty"`
	Interface string `json:"interface,omitempty"`
	Target    string `json:"target,omitempty"`
}

type imageSummary struct {
	Key         string `json:"key"`
	ID          string `json:"id"`
	Size        int64  `json:"size"`
	Compression string `json:"compression,omitempty"`
	BlockSize   int    `json:"blockSize,omitempty"`
	Inodes      int    `json:"inodes,omitempty"`
	Error       string `json:"error,omitempty"`
}

type signatureSummary struct {
	Key     string   `json:"key"`
	Alg     string   `json:"alg,omitempty"`
	Include []string `json:"include"`
	Exclude []string `json:"exclude"`
	Chain   int      `json:"certificates"` // in the signature itself
	Error   string   `json:"error,omitempty"`
}

func summarize(ctx context.Context, t *target) (summary, error) {
	b := t.bundle
	s := summary{
		File: t.file, Compression: b.Info.Compression.String(), Size: b.Info.Size,
		Objects: b.Info.Objects, ObjectSize: b.Info.ObjectSize, Canonical: b.State.Canonical(),
		Containers: []containerSummary{}, Other: []string{}, Signatures: signatures(b.State),
	}
	names := b.State.Parts()
	for _, name := range names {
		if t.container != "" && t.container != name {
			continue
		}
		c, err := summarizeContainer(ctx, b, name)
		if err != nil {
			return summary{}, err
		}
		c.Signed = slices.ContainsFunc(s.Signatures, func(g signatureSummary) bool {
			return slices.Contains(g.Include, name+"/**")
		})
		s.Containers = append(s.Containers, c)
	}
	for key := range b.State.All() {
		dir, rest, _ := strings.Cut(key, "/")
		if dir == "_config" {
			dir, _, _ = strings.Cut(rest, "/")
		}
		if key != pvrexport.SpecKey && dir != "_sigs" && !slices.Contains(names, dir) {
			s.Other = append(s.Other, key)
		}
	}
	return s, nil
}

// runManifest is the part of run.json that people ask for. Values of the wrong
// type are left to `pvkit verify`.
type runManifest struct {
	Group         string             `json:"group"`
	Runlevel      string             `json:"runlevel"`
	Type          string             `json:"type"`
	RestartPolicy string             `json:"restart_policy"`
	StatusGoal    string             `json:"status_goal"`
	Roles         json.RawMessage    `json:"roles"`
	Storage       map[string]storage `json:"storage"`
	Services      struct {
		Required []service `json:"required"`
		Optional []service `json:"optional"`
	} `json:"services"`
	Network struct {
		Pool string `json:"pool"`
	} `json:"network"`
}

func summarizeContainer(ctx context.Context, b *pvrexport.Bundle, name string) (containerSummary, error) {
	c := containerSummary{
		Name: name, Storage: []storage{}, Provides: provided(b.State, name),
		Requires: []service{}, Optional: []service{}, Config: []string{}, Images: []imageSummary{},
	}
	var run runManifest
	if v, ok := b.State.Get(name + "/run.json"); ok && v.Unmarshal(&run) == nil {
		c.Group, c.Runlevel, c.Type = run.Group, run.Runlevel, run.Type
		c.RestartPolicy, c.StatusGoal, c.Roles = run.RestartPolicy, run.StatusGoal, run.Roles
		c.Requires = append(c.Requires, run.Services.Required...)
		c.Optional = append(c.Optional, run.Services.Optional...)
		c.Pool = run.Network.Pool
		for vol, st := range run.Storage {
			st.Name = vol
			c.Storage = append(c.Storage, st)
		}
		slices.SortFunc(c.Storage, func(a, b storage) int { return strings.Compare(a.Name, b.Name) })
	}
	for key, v := range b.State.All() {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		if rest, ok := strings.CutPrefix(key, "_config/"+name+"/"); ok {
			c.Config = append(c.Config, rest)
		}
		if id, isObject := v.Object(); isObject && strings.HasPrefix(key, name+"/") && strings.HasSuffix(key, ".squashfs") {
			c.Images = append(c.Images, summarizeImage(b, key, id))
		}
	}
	return c, nil
}

func summarizeImage(b *pvrexport.Bundle, key, id string) imageSummary {
	s := imageSummary{Key: key, ID: id}
	r, err := b.Object(id)
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.Size = r.Size()
	im, err := squashfs.Open(r, r.Size())
	if err != nil {
		s.Error = err.Error()
		return s
	}
	info := im.Info()
	s.Compression, s.BlockSize, s.Inodes = info.Compression.String(), info.BlockSize, info.Inodes
	if info.Flags.UncompressedData && info.Flags.UncompressedInodes {
		s.Compression = squashfs.None.String()
	}
	return s
}

// provided reads services.json: an object with a list "services", or, in old
// exports, the list alone.
func provided(s *pvrexport.State, container string) []service {
	v, ok := s.Get(container + "/services.json")
	if !ok {
		return []service{}
	}
	var doc struct {
		Services []service `json:"services"`
	}
	if v.Unmarshal(&doc) == nil && doc.Services != nil {
		return doc.Services
	}
	list := []service{}
	if v.Unmarshal(&list) != nil {
		return []service{}
	}
	return list
}

func signatures(s *pvrexport.State) []signatureSummary {
	out := []signatureSummary{}
	for _, g := range s.Signatures() {
		sum := signatureSummary{
			Key: g.Key, Alg: g.Alg, Chain: g.Certificates,
			Include: append([]string{}, g.Include...), Exclude: append([]string{}, g.Exclude...),
		}
		if g.Err != nil {
			sum.Error = g.Err.Error()
		}
		out = append(out, sum)
	}
	return out
}
