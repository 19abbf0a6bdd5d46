package system

import (
	"math"
	"strconv"
	"time"
)

// recovery reads an auto_recovery object (pv_parse_auto_recovery_json in
// parser_system1.c). An object replaces the group's as a whole, also with
// policy "no".
func recovery(n node) Recovery {
	r := Recovery{Policy: RecoverNo}
	o, ok := n.object()
	if !ok {
		n.errorf("auto-recovery", "write an object", "is %s", n.show())
		return r
	}
	o.unknown("auto-recovery", "policy", "max_retries", "retry_delay", "reset_window",
		"backoff_factor", "stable_timeout", "backoff_policy")
	switch policy := RecoveryPolicy(o.text("policy")); policy {
	case RecoverNo, RecoverAlways, RecoverOnFailure:
		r.Policy = policy
	case RecoverUnlessStopped:
		r.Policy = policy
		o.get("policy").warnf("auto-recovery", `write "always"`,
			"the runtime does not act on unless-stopped: when the container ends, the system restarts")
	default:
		o.get("policy").warnf("auto-recovery", "write no, always or on-failure", "%q is not a policy; no is used", string(policy))
	}
	r.MaxRetries = o.count("max_retries")
	r.RetryDelay = o.seconds("retry_delay")
	r.ResetWindow = o.seconds("reset_window")
	r.StableTimeout = o.seconds("stable_timeout")
	if f := o.get("backoff_factor"); !f.null() {
		if r.Factor, ok = f.number(); !ok || r.Factor < 0 {
			f.warnf("auto-recovery", "write a number", "is %s; delays do not grow", f.show())
			r.Factor = 0
		}
	}
	r.Backoff = backoff(o.get("backoff_policy"))
	return r
}

// backoff reads "reboot", "never" or a number with the unit s, min or h, or
// none for seconds (pv_parse_backoff_policy in platforms.c).
func backoff(n node) Backoff {
	if n.null() {
		return Backoff{}
	}
	text, ok := n.str()
	if !ok {
		text = string(n.raw)
	}
	switch text {
	case "reboot", "":
		return Backoff{}
	case "never":
		return Backoff{Kind: BackoffNever}
	}
	digits := 0
	for digits < len(text) && '0' <= text[digits] && text[digits] <= '9' {
		digits++
	}
	units := map[string]int{"": 1, "s": 1, "min": 60, "h": 3600}
	count, err := strconv.Atoi(text[:digits])
	unit, known := units[text[digits:]]
	if err != nil || !known || count <= 0 || count > math.MaxInt32/unit {
		n.warnf("auto-recovery", "write reboot, never, or a time such as 30s, 10min or 1h", "%q is not a backoff policy; reboot is used", text)
		return Backoff{}
	}
	return Backoff{Kind: BackoffDuration, After: time.Duration(count*unit) * time.Second}
}
