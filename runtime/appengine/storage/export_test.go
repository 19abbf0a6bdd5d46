package storage

// SwapInSteps is the way to replace a revision where the file system cannot
// exchange directories; the tests' file systems all can.
func (s *Store) SwapInSteps(made, rev string) error { return s.swapInSteps(made, rev) }
