// Command pventer runs a command, or a shell, inside a running container.
package main

import (
	"github.com/pvkit/pvkit/internal/program"
	"github.com/pvkit/pvkit/runtime/appengine/sandbox"
	"github.com/pvkit/pvkit/runtime/pventer"
)

func main() {
	sandbox.Child() // returns, but in the process that enters the container
	program.Run(pventer.Main)
}
