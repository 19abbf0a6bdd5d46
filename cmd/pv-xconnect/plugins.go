package main

import (
	"github.com/pvkit/pvkit/runtime/xconnect"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/dbus"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/drm"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/rest"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/unix"
	"github.com/pvkit/pvkit/runtime/xconnect/plugins/wayland"
	"github.com/pvkit/pvkit/runtime/xconnect/relay"
)

// plugins is every kind of link that this daemon serves. devices are patterns of
// character devices that drm links may pass on besides graphics.
func plugins(devices []string, loops *relay.Loops) []xconnect.Plugin {
	return []xconnect.Plugin{
		unix.Plugin{Loops: loops},
		rest.Plugin{Loops: loops},
		dbus.Plugin{Loops: loops},
		drm.Plugin{Allow: devices},
		wayland.Plugin{Loops: loops},
	}
}
