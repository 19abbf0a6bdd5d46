package drm

import (
	"fmt"
	"io/fs"
	"path"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

const (
	deviceDir = "/dev/dri"
	major     = 226 // DRM_MAJOR, include/drm/drm_file.h and admin-guide/devices.txt
)

// check refuses what is not allowed. The path is where the node is, so a link
// in /dev/dri to another device is judged as that device; and the number has
// to fit, so a provider that makes nodes in its own /dev/dri gains nothing.
func (p Plugin) check(n xconnect.Node) error {
	refuse := func(why string) error {
		return fmt.Errorf("%w: %s (%d:%d) %s", xconnect.ErrPermanent, n.Path, n.Major, n.Minor, why)
	}
	if n.Mode&fs.ModeDevice == 0 || n.Mode&fs.ModeCharDevice == 0 {
		return refuse("is not a character device")
	}
	for _, pattern := range p.Allow {
		ok, err := path.Match(pattern, n.Path)
		if err != nil {
			return fmt.Errorf("%w: the allowed pattern %q: %w", xconnect.ErrPermanent, pattern, err)
		}
		if ok {
			return nil
		}
	}
	switch {
	case path.Dir(n.Path) != deviceDir:
		return refuse("is not in " + deviceDir)
	case n.Major != major:
		return refuse("is not a graphics device")
	}
	return nil
}
