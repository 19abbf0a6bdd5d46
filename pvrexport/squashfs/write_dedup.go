package squashfs

import "crypto/sha256"

type digest [sha256.Size]byte

// duplicates finds content that is in the image already. Files that have
// blocks of their own are compared as a whole; what is in shared blocks, short
// files and the ends of long ones, piece by piece. Only what shares its length
// with something else is hashed, and the first of a length while it is stored,
// so that most content is read once.
type duplicates struct {
	lengths map[int64]int // files with blocks of their own, by size
	ends    map[int]int   // pieces in shared blocks, by length
	files   map[digest]*fileData
	known   map[int64]bool // sizes of which a file is in files
	pieces  map[digest]place
}

// place is where a piece is.
type place struct{ fragment, offset uint32 }

// hasPiece says whether the end of a file of that size goes to a shared block.
func hasPiece(o Options, size int64) bool {
	return !o.NoFragments && size%int64(o.BlockSize) != 0 && (size < int64(o.BlockSize) || o.TailPacking)
}

func newDuplicates(p *plan) *duplicates {
	d := &duplicates{
		lengths: map[int64]int{}, ends: map[int]int{},
		files: map[digest]*fileData{}, known: map[int64]bool{}, pieces: map[digest]place{},
	}
	if p.opts.NoDuplicates {
		return d
	}
	block := int64(p.opts.BlockSize)
	for _, it := range p.files {
		size := it.node.Size()
		if hasPiece(p.opts, size) {
			d.ends[int(size%block)]++
			if size < block {
				continue
			}
		}
		d.lengths[size]++
	}
	return d
}

func (d *duplicates) mayRepeat(size int64) bool      { return d.lengths[size] > 1 }
func (d *duplicates) mayRepeatPiece(length int) bool { return d.ends[length] > 1 }
func (d *duplicates) seen(size int64) bool           { return d.known[size] }
func (d *duplicates) file(sum digest) *fileData      { return d.files[sum] }

func (d *duplicates) addFile(sum digest, size int64, data *fileData) {
	d.files[sum], d.known[size] = data, true
}
