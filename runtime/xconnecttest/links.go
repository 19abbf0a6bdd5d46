package xconnecttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pvkit/pvkit/runtime/pvctrl"
	"github.com/pvkit/pvkit/runtime/xconnect"
)

// The plan's clients print what comes through their links.
const (
	dbusClient = "pv-example-dbus-client"
	restClient = "pv-example-rest-client"
)

func unixLinks(ctx context.Context, p *probe) error {
	return p.each(ctx, "unix", "pv-example-unix-server and pv-example-unix-client", func(l pvctrl.Link) error {
		return p.socket(ctx, l)
	}, nil)
}

// dbusLinks: the client of the plan logs what dbus-send prints.
func dbusLinks(ctx context.Context, p *probe) error {
	return p.each(ctx, "dbus", "pv-example-dbus-server and "+dbusClient, func(l pvctrl.Link) error {
		if err := p.socket(ctx, l); err != nil || l.Consumer != dbusClient {
			return err
		}
		return p.logged(ctx, l.Consumer, "a method return", func(line string) bool { return strings.Contains(line, "method return") })
	}, nil)
}

// restLinks: the client of the plan logs the provider's JSON.
func restLinks(ctx context.Context, p *probe) error {
	return p.each(ctx, "rest", "pv-example-rest-server and "+restClient, func(l pvctrl.Link) error {
		if err := p.socket(ctx, l); err != nil || l.Consumer != restClient {
			return err
		}
		return p.logged(ctx, l.Consumer, "a JSON object", func(line string) bool {
			var doc map[string]any
			return json.Unmarshal([]byte(line), &doc) == nil
		})
	}, nil)
}

func drmLinks(ctx context.Context, p *probe) error {
	return p.each(ctx, "drm", "pv-example-drm-provider and pv-example-drm-master", func(l pvctrl.Link) error {
		return p.inside(ctx, l, func(root xconnect.Root) error {
			n, err := root.Node(ctx, l.Target)
			p.saw(fmt.Sprintf("look at %s in %s", l.Target, l.Consumer), fmt.Sprintf("%v %d:%d", n.Mode, n.Major, n.Minor), err)
			if err == nil && n.Mode&fs.ModeCharDevice == 0 {
				err = fmt.Errorf("%s in %s is %v and should be a character device", l.Target, l.Consumer, n.Mode)
			}
			return err
		})
	}, nil)
}

// maxLog is how much of the end of a console log is looked at.
const maxLog = 1 << 20

// logged checks that the console log of a container has a line. A log that is
// not on this machine cannot be judged.
func (p *probe) logged(ctx context.Context, name, what string, is func(line string) bool) error {
	file, err := p.consoleLog(ctx, name)
	if err != nil {
		return err
	}
	text, err := tail(file)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(filepath.Dir(filepath.Dir(file)))); err != nil {
			return skip("the links are there; the runtime's logs are not on this machine (%v)", err)
		}
	}
	if err != nil {
		p.saw("read "+file, "", err)
		return err
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); is(line) {
			p.saw("read "+file, line, nil)
			return nil
		}
	}
	p.saw("read "+file, text[max(0, len(text)-maxShown):], nil)
	return fmt.Errorf("the console log of %s has not %s", name, what)
}

// consoleLog is where the runtime has the console of a container.
func (p *probe) consoleLog(ctx context.Context, name string) (string, error) {
	dir, rev := p.Logs, "0"
	if dir == "" {
		list, err := p.ctrl.Settings(ctx)
		if err != nil {
			return "", err
		}
		for _, s := range list {
			if s.Key == "PV_LOG_DIR" {
				dir = s.Value
			}
		}
	}
	meta, err := p.ctrl.Meta(ctx, pvctrl.DeviceMeta)
	if err != nil {
		return "", err
	}
	for _, m := range meta {
		if m.Key == "pantavisor.revision" {
			rev = m.Value
		}
	}
	return filepath.Join(dir, filepath.FromSlash(rev), name, "lxc", "console.log"), nil
}

// tail reads the end of a file.
func tail(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return "", err
	} else if st.Size() > maxLog {
		if _, err := f.Seek(-maxLog, io.SeekEnd); err != nil {
			return "", err
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxLog))
	return string(b), err
}
