package logs

import (
	"io/fs"
	"iter"
)

// walk yields a folder and everything below it. What cannot be read is left
// out: others delete here as well.
func walk(fsys fs.FS, dir string) iter.Seq2[string, fs.DirEntry] {
	return func(yield func(string, fs.DirEntry) bool) {
		_ = fs.WalkDir(fsys, dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !yield(name, d) {
				return fs.SkipAll
			}
			return nil
		})
	}
}
