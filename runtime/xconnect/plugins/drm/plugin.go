// Package drm gives a consumer a graphics device of a provider: the same
// device node appears in the consumer for as long as the link is there.
//
// A device node is power over the machine, and a provider chooses what is at
// the path that it exports. So the plugin looks at what is really there, links
// resolved, and passes on only what [Plugin] says (policy.go). Where the
// consumer is in a device cgroup, the device is added to what the cgroup allows
// (cgroup.go).
package drm

import (
	"context"
	"errors"
	"fmt"

	"github.com/pvkit/pvkit/runtime/xconnect"
)

// Plugin serves links of type drm. Its zero value passes on graphics devices
// only: character devices of major 226 in /dev/dri.
type Plugin struct {
	// Allow has further character devices: patterns for path.Match against the
	// provider's path, such as "/dev/fb0" or "/dev/video*".
	Allow []string
}

// Type is the graph's name for these links.
func (Plugin) Type() string { return "drm" }

// Run makes the node at the link's target and takes it away when ctx is done.
func (p Plugin) Run(ctx context.Context, l xconnect.Link, env xconnect.Env) error {
	node, err := env.Provider.Node(ctx, l.Socket)
	if err != nil {
		return err
	}
	if err := p.check(node); err != nil {
		return fmt.Errorf("pass on %s of %s: %w", l.Socket, l.Provider.Name, err)
	}
	cg, err := findCgroup(l.Consumer.PID)
	if err != nil {
		return err
	}
	defer cg.close()
	// PutNode fails if the consumer has ended, so from here on the cgroup that
	// was found is the consumer's and not that of a later process with its pid.
	remove, err := env.Consumer.PutNode(ctx, node, l.Target)
	if err != nil {
		return err
	}
	revoke, err := cg.allow(node)
	if err != nil {
		return errors.Join(err, gone(remove()))
	}
	if cg.foreign > 0 {
		env.Log.Info("Another runtime's device rules hold for the consumer: it can use the device if they allow it", "node", node.Path, "programs", cg.foreign)
	}
	env.Log.Info("Device passed on", "node", node.Path, "major", node.Major, "minor", node.Minor)
	env.Ready()
	select {
	case <-ctx.Done():
	case <-env.Consumer.Gone(): // its files go with it
	}
	return errors.Join(revoke(), gone(remove()))
}

// gone: with the consumer went what was made in it.
func gone(err error) error {
	if errors.Is(err, xconnect.ErrPeerGone) {
		return nil
	}
	return err
}
