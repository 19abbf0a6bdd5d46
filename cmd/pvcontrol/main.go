// Command pvcontrol controls Pantavisor through its API, as Pantavisor's
// pvcontrol does.
package main

import (
	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/pvcontrol"
)

func main() { program.Run(pvcontrol.Main) }
