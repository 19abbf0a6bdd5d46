// Command pvcurl sends one HTTP request over a unix socket, as Pantavisor's
// pvcurl does.
package main

import (
	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/pvcurl"
)

func main() { program.Run(pvcurl.Main) }
