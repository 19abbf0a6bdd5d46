package kas

// Render dumps a tree as the dialect's `kas dump` does; only tests dump trees
// that are no configurations.
func Render(v *Value, d Dialect, o DumpOptions) (string, error) { return d.render(v, o) }
