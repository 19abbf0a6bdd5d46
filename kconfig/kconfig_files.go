package kconfig

import (
	"embed"
	"io/fs"
)

//go:embed Kconfig
var project embed.FS

// ProjectFiles holds the project's own menu, "Kconfig", as it lies in the folder
// kconfig.
func ProjectFiles() fs.FS { return project }
