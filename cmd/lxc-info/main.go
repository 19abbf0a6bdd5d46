// Command lxc-info prints facts about a container of the runtime, as LXC's does.
package main

import (
	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/lxctools"
)

func main() { program.Run(lxctools.MainInfo) }
