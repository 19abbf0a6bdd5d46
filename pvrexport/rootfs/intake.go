package rootfs

import "time"

// AllRoot is an Owner function that gives everything to 0:0. A directory
// read by an ordinary user has that user's id on every file; this is the
// usual answer.
func AllRoot(uint32, uint32) (uint32, uint32) { return 0, 0 }

// OwnedBy returns an Owner function that gives everything to uid:gid.
func OwnedBy(uid, gid uint32) func(uint32, uint32) (uint32, uint32) {
	return func(uint32, uint32) (uint32, uint32) { return uid, gid }
}

// intake is what FromDir and FromTar do to every node on its way in.
type intake struct {
	owner   func(uid, gid uint32) (uint32, uint32)
	clamp   time.Time
	skipped func(name, what string)
}

func (in intake) apply(n *Node) {
	if in.owner != nil {
		n.UID, n.GID = in.owner(n.UID, n.GID)
	}
	if !in.clamp.IsZero() && n.ModTime > in.clamp.Unix() {
		n.ModTime = in.clamp.Unix()
	}
}

func (in intake) skip(name, what string) {
	if in.skipped != nil {
		in.skipped(name, what)
	}
}

// add puts child under name; a nil map is made first.
func (n *Node) add(name string, child *Node) {
	if n.children == nil {
		n.children = map[string]*Node{}
	}
	n.children[name] = child
}
