package kconfig_test

import (
	"errors"
	"regexp"

	"github.com/pvkit/pvkit/kconfig"
)

func asLoop(err error, loop **kconfig.LoopError) bool { return errors.As(err, loop) }

var place = regexp.MustCompile(`^[^ :]+:\d+: `)

func cutPlace(s string) (string, bool) {
	at := place.FindString(s)
	return s[len(at):], at != ""
}
