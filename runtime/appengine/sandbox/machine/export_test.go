package machine

// Emulated looks in another directory than the kernel's.
func Emulated(p Program, dir string) bool { return p.emulated(dir) }
