// Command lxc-ls lists the runtime's containers, as LXC's does.
package main

import (
	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/lxctools"
)

func main() { program.Run(lxctools.MainLs) }
