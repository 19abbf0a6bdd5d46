package ctrl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/pvkit/pvkit/runtime/pvctrl"
)

// encode writes compact JSON without HTML escapes and without a last newline.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func encoded(v any, err error) (*reply, error) {
	if err != nil {
		return nil, err
	}
	text, err := encode(v)
	if err != nil {
		return nil, err
	}
	return document(text), nil
}

// list is encoded for a slice: an empty one is [], nil or not.
func list[T any](items []T, err error) (*reply, error) {
	if items == nil {
		items = []T{}
	}
	return encoded(items, err)
}

func done(err error) (*reply, error) {
	if err != nil {
		return nil, err
	}
	return ok(), nil
}

func getBuildInfo(s *Server, _ *request) (*reply, error) {
	text := s.o.Backend.BuildInfo.BuildInfo()
	return &reply{status: http.StatusOK, fields: []field{{"content-type", "text/plain"}}, body: text}, nil
}

func getContainers(s *Server, r *request) (*reply, error) {
	return list(s.o.Backend.Containers.Containers(r.ctx))
}

func putContainer(s *Server, r *request) (*reply, error) {
	name := r.names[0]
	all, err := s.o.Backend.Containers.Containers(r.ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(c pvctrl.Container) bool { return c.Name == name })
	switch {
	case i < 0:
		return nil, ErrNotFound
	case all[i].RestartPolicy == "system":
		return nil, ErrSystemPolicy
	}
	text, err := r.body.all(r.route.Limit)
	if err != nil {
		return nil, err
	}
	a, err := decodeAction(text)
	if err != nil {
		return nil, err
	}
	switch a {
	case Start, Stop, Restart:
		return done(s.o.Backend.Containers.ContainerAction(r.ctx, name, a))
	case "":
		return nil, errNoAction
	}
	return nil, errAction
}

func getGroups(s *Server, r *request) (*reply, error) {
	return list(s.o.Backend.Groups.Groups(r.ctx))
}

func postSignal(s *Server, r *request) (*reply, error) {
	text, err := r.body.all(r.route.Limit)
	if err != nil {
		return nil, err
	}
	sig, err := decodeSignal(text)
	if err != nil {
		return nil, err
	}
	return done(s.o.Backend.Signals.Signal(r.ctx, r.caller.Name, sig))
}

func getDrivers(s *Server, r *request) (*reply, error) {
	all, err := s.o.Backend.Drivers.Drivers(r.ctx, r.caller.Name)
	if err == nil && len(all) == 0 {
		return document([]byte("{}")), nil
	}
	return list(all, err)
}

// driverName is "" for all drivers.
func driverName(r *request) string {
	if len(r.names) == 0 {
		return ""
	}
	return r.names[0]
}

func loadDrivers(s *Server, r *request) (*reply, error) {
	return done(s.o.Backend.Drivers.LoadDrivers(r.ctx, r.caller.Name, driverName(r)))
}

func unloadDrivers(s *Server, r *request) (*reply, error) {
	return done(s.o.Backend.Drivers.UnloadDrivers(r.ctx, r.caller.Name, driverName(r)))
}

func postCommand(s *Server, r *request) (*reply, error) {
	text, err := r.body.all(r.route.Limit)
	if err != nil {
		return nil, err
	}
	c, err := decodeCommand(text)
	if err != nil {
		return nil, err
	}
	return done(s.o.Backend.Commands.Command(r.ctx, c))
}

func getConfig(s *Server, r *request) (*reply, error) {
	all, err := s.o.Backend.Settings.Aliases(r.ctx)
	if err != nil {
		return nil, err
	}
	buf := []byte{'{'}
	for i, a := range all {
		if i > 0 {
			buf = append(buf, ',')
		}
		value, err := encode(a.Value)
		if err != nil {
			return nil, fmt.Errorf("write setting %s: %w", a.Name, err)
		}
		buf = append(append(quote(buf, a.Name), ':'), value...)
	}
	return document(append(buf, '}')), nil
}

func getConfig2(s *Server, r *request) (*reply, error) {
	return list(s.o.Backend.Settings.Settings(r.ctx))
}

func getDaemons(s *Server, r *request) (*reply, error) {
	return list(s.o.Backend.Daemons.Daemons(r.ctx))
}

func putDaemon(s *Server, r *request) (*reply, error) {
	name := r.names[0]
	all, err := s.o.Backend.Daemons.Daemons(r.ctx)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(all, func(d pvctrl.Daemon) bool { return d.Name == name }) {
		return nil, ErrNotFound
	}
	text, err := r.body.all(r.route.Limit)
	if err != nil {
		return nil, err
	}
	a, err := decodeAction(text)
	if err != nil {
		return nil, err
	}
	if a != Start && a != Stop { // any other one is accepted and does nothing
		return ok(), nil
	}
	return done(s.o.Backend.Daemons.DaemonAction(r.ctx, name, a))
}

func postGC(s *Server, r *request) (*reply, error) {
	n, err := s.o.Backend.GC.CollectGarbage(r.ctx)
	if err != nil {
		return nil, err
	}
	return document([]byte(`{"reclaimed": ` + strconv.FormatInt(n, 10) + `}`)), nil
}

func getWakelocks(s *Server, r *request) (*reply, error) {
	return encoded(s.o.Backend.Wakelocks.Wakelocks(r.ctx))
}
