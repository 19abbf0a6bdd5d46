package manifest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// runJSON renders run.json, keys in the order of pvr's template. The device
// looks for its keys by their beginning (parser_system1.c, do_lookup_json_key),
// so no key may be written here that starts with another one it knows.
func (r *renderer) runJSON() object {
	o := object{{"#spec", "service-manifest-run@1"}, {"name", r.src.Name}}
	if !r.mountedOnly() {
		o.add("config", ConfFile)
	}
	if v, ok := r.args["PV_CONDITIONS"]; ok {
		o.add("conditions", v)
	}
	o.add("drivers", object{
		{"manual", texts(r.args.list("PV_DRIVERS_MANUAL"))},
		{"required", texts(r.args.list("PV_DRIVERS_REQUIRED"))},
		{"optional", texts(r.args.list("PV_DRIVERS_OPTIONAL"))},
	})
	o.addText("group", r.group())
	o.addText("runlevel", r.args.text("PV_RUNLEVEL"))
	o.addText("restart_policy", r.args.text("PV_RESTART_POLICY"))
	o.addText("status_goal", r.args.text("PV_STATUS_GOAL"))
	if r.args.has("PV_AUTOMODFW") {
		o.add("automodfw", yesNo(r.args.yes("PV_AUTOMODFW")))
	}
	if v, ok := r.args["PV_REMOUNT"]; ok {
		o.add("remount", v)
	}
	if r.net != nil {
		o.add("network", r.net.object())
	}
	if v, ok := r.args["PV_AUTO_RECOVERY"].(map[string]any); ok {
		o.add("auto_recovery", recoveryObject(v))
	}
	if services := r.requirements(); services != nil {
		o.add("services", services)
	}
	o.add("storage", r.storageObject())
	if !r.mountedOnly() {
		if len(r.src.Exports) > 0 {
			o.add("exports", r.src.Exports)
		}
		if len(r.logs) > 0 {
			o.add("logs", r.logs)
		}
		o.add("type", "lxc")
		if roles := r.args.list("PV_ROLES"); len(roles) > 0 {
			o.add("roles", roles)
		}
	}
	root := "root.squashfs"
	if r.src.Docker.OvlDigest != "" && r.src.Base != "" {
		root = "root.ovl.squashfs"
	}
	o.add("root-volume", r.verity(root))
	o.add("volumes", r.images())
	return o
}

// images lists the images beside the root volume, each once.
func (r *renderer) images() []string {
	list := slices.Clone(r.args.list("PV_EXTRA_VOLUMES"))
	for _, p := range r.args.pairs("PV_VOLUME_MOUNTS") {
		list = append(list, p.from)
	}
	if r.src.Docker.OvlDigest != "" && r.src.Base == "" {
		list = append(list, "root.ovl.squashfs")
	}
	out, seen := []string{}, map[string]bool{}
	for _, name := range list {
		if !seen[name] {
			out = append(out, r.verity(name))
		}
		seen[name] = true
	}
	return out
}

// verity puts "dm:" before the name of a volume that dm-verity guards.
func (r *renderer) verity(name string) string {
	if r.src.DMEnabled[name] {
		return "dm:" + name
	}
	return name
}

func (r *renderer) storageObject() object {
	var o object
	for _, v := range r.storage {
		entry := object{{"persistence", v.persistence}}
		entry.addText("disk", v.disk)
		o.add(v.name, entry)
	}
	return o
}

// texts is list, never null.
func texts(list []string) []string { return append([]string{}, list...) }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// The members of PV_AUTO_RECOVERY (parser_system1.c, pv_parse_auto_recovery_json).
var (
	recoveryCounts   = []string{"max_retries", "retry_delay", "reset_window", "stable_timeout"}
	recoveryKeys     = append([]string{"policy", "backoff_factor", "backoff_policy"}, recoveryCounts...)
	recoveryPolicies = []string{"no", "always", "on-failure", "unless-stopped"}
	// A unit that the device does not know counts as seconds there
	// (platforms.c, pv_parse_backoff_policy), so only its own are accepted.
	backoffPolicy = regexp.MustCompile(`^(reboot|never|[1-9][0-9]{0,6}(s|min|h)?)$`)
	decimal       = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]+)?$`)
)

func checkRecovery(c *checker, at string, v any) {
	m := v.(map[string]any)
	for _, key := range sortedKeys(m) {
		value, at := m[key], at+"."+key
		isPolicy := func(ok func(string) bool, want string) {
			if s, isText := value.(string); !isText || !ok(s) {
				c.bad(at, "PV_AUTO_RECOVERY.%s: got %s, want %s", key, describe(value), want)
			}
		}
		switch {
		case key == "policy":
			isPolicy(func(s string) bool { return slices.Contains(recoveryPolicies, s) }, strings.Join(recoveryPolicies, ", "))
		case key == "backoff_policy":
			isPolicy(backoffPolicy.MatchString, "reboot, never, or a time such as 30s, 10min or 1h")
		case key == "backoff_factor":
			c.recoveryNumber(at, key, value, "a number", decimal)
		case slices.Contains(recoveryCounts, key):
			c.recoveryNumber(at, key, value, "a whole number", digits)
		default:
			c.report(ruleUnknown, diag.Error, at, fmt.Sprintf("PV_AUTO_RECOVERY: %q is not one of its members", shorten(key)), nearest(key, recoveryKeys))
		}
	}
	switch m["policy"] {
	case nil:
		c.warn(at, "PV_AUTO_RECOVERY: without \"policy\" nothing is recovered")
	case "unless-stopped":
		c.warn(at, "PV_AUTO_RECOVERY: devices read the policy unless-stopped but do not act on it")
	}
}

// recoveryNumber wants a JSON number: the device reads text as 0, or takes the
// next number in the object instead (pv_json_get_value_int).
func (c *checker) recoveryNumber(at, key string, v any, want string, form *regexp.Regexp) {
	message := fmt.Sprintf("PV_AUTO_RECOVERY.%s: got %s, want %s", key, describe(v), want)
	switch v := v.(type) {
	case json.Number:
		if s, ok := plainNumber(v); ok && form.MatchString(s) {
			return
		}
	case string:
		if form.MatchString(v) {
			c.report(ruleType, diag.Error, at, message, fmt.Sprintf("write %s without quotes", v))
			return
		}
	}
	c.report(ruleType, diag.Error, at, message, "")
}

// plainNumber writes a number without an exponent and without a fraction that
// is zero ("2.0" is "2"), as canonical JSON would.
func plainNumber(n json.Number) (string, bool) {
	f, err := n.Float64()
	if err != nil || f < 0 {
		return "", false
	}
	return strconv.FormatFloat(f, 'f', -1, 64), true
}

// recoveryObject puts the members in a fixed order.
func recoveryObject(m map[string]any) object {
	var o object
	for _, key := range []string{"policy", "max_retries", "retry_delay", "backoff_factor", "reset_window", "stable_timeout", "backoff_policy"} {
		v, ok := m[key]
		if !ok {
			continue
		}
		if n, isNumber := v.(json.Number); isNumber {
			if s, plain := plainNumber(n); plain {
				v = json.Number(s)
			}
		}
		o.add(key, v)
	}
	return o
}
