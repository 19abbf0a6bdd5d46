package manifest

import (
	"fmt"
	"regexp"
	"strings"
)

// mdevRest is what may follow the mode: where the node goes, and a command to
// run (busybox docs/mdev.txt).
var (
	mdevOwner = regexp.MustCompile(`^[A-Za-z0-9_.-]+:[A-Za-z0-9_.-]+$`)
	mdevMode  = regexp.MustCompile(`^[0-7]{3,4}$`)
	mdevMajor = regexp.MustCompile(`^@[0-9]+(,[0-9]+(-[0-9]+)?)?$`)
	mdevRest  = regexp.MustCompile(`^([=>]\S+|!)?(\s*[@$*].+)?$`)
	mdevEnv   = regexp.MustCompile(`^\$[A-Za-z_][A-Za-z0-9_]*=`)
)

// mdevJSON renders mdev.json: rules "regex user:group mode" that busybox mdev
// applies to the container's /dev (pantavisor scripts/hooks_lxc-mount.d/mdev.sh).
func (r *renderer) mdevJSON() object {
	if len(r.src.Mdev) == 0 {
		return nil
	}
	for i, rule := range r.src.Mdev {
		r.mdevRule(fmt.Sprintf("mdev.%d", i), rule)
	}
	return object{{"rules", r.src.Mdev}}
}

func (r *renderer) mdevRule(at, rule string) {
	// mdev.sh cuts the rules out of the JSON text and leaves its escapes in.
	if control(rule) || strings.ContainsAny(rule, "\"\\") {
		r.bad(at, "mdev: the rule %q holds a quote, a backslash or a control character, which does not survive the way to mdev", shorten(rule))
		return
	}
	fields := strings.Fields(rule)
	if len(fields) < 3 || strings.HasPrefix(rule, "#") {
		r.bad(at, "mdev: got %q, want \"regex user:group mode\"", shorten(rule))
		return
	}
	pattern := strings.TrimPrefix(fields[0], "-")
	pattern = strings.TrimPrefix(pattern, mdevEnv.FindString(pattern))
	if !mdevMajor.MatchString(pattern) {
		if _, err := regexp.CompilePOSIX(pattern); err != nil {
			r.bad(at, "mdev: %q is not a regular expression: %v", shorten(pattern), err)
		}
	}
	if !mdevOwner.MatchString(fields[1]) {
		r.bad(at, "mdev: %q is not an owner: want user:group", shorten(fields[1]))
	}
	if !mdevMode.MatchString(fields[2]) {
		r.bad(at, "mdev: %q is not a mode: want three or four octal digits", shorten(fields[2]))
	}
	if rest := strings.Join(fields[3:], " "); !mdevRest.MatchString(rest) {
		r.bad(at, "mdev: %q cannot follow the mode: want =path, >path or !, and then a command behind @, $ or *", shorten(rest))
	}
}
