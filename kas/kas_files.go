package kas

import (
	"embed"
	"io/fs"
)

//go:embed base.yaml base.lock.yaml scarthgap.yaml builds features machines platforms
var fragments embed.FS

// Fragments are the project's own kas files, as they lie in the folder kas:
// "base.yaml", "machines/docker-x86_64.yaml" and so on.
func Fragments() fs.FS { return fragments }
