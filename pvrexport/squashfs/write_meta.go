package squashfs

import (
	"encoding/binary"
	"fmt"
)

// metaWriter collects a chain of metadata blocks: 8 KiB of data each, every
// one compressed by itself behind its length. A full block is closed at once,
// so that here is always in a block that has room.
type metaWriter struct {
	enc  encoder // nil stores
	done []byte  // closed blocks as they will be in the image
	open []byte  // data of the block that is being filled
	tmp  []byte
	err  error // the first one; later writes change nothing
}

func newMetaWriter(enc encoder) *metaWriter {
	return &metaWriter{enc: enc, open: make([]byte, 0, metadataSize)}
}

// here is the place of the next byte written.
func (m *metaWriter) here() inodeRef { return newRef(uint64(len(m.done)), len(m.open)) }

func (m *metaWriter) write(b []byte) {
	for len(b) > 0 && m.err == nil {
		n := min(len(b), metadataSize-len(m.open))
		m.open = append(m.open, b[:n]...)
		b = b[n:]
		if len(m.open) == metadataSize {
			m.close()
		}
	}
}

// close ends the block that is being filled, if there is anything in it.
func (m *metaWriter) close() {
	if len(m.open) == 0 || m.err != nil {
		return
	}
	var packed []byte
	if m.enc != nil {
		if m.tmp == nil {
			m.tmp = make([]byte, 0, 2*metadataSize)
		}
		packed, m.err = m.enc.compress(m.tmp, m.open)
		if m.err != nil {
			m.err = fmt.Errorf("compress metadata: %w", m.err)
			return
		}
	}
	m.done = appendMetadata(m.done, packed, m.open)
	m.open = m.open[:0]
}

// finish closes the chain and returns it.
func (m *metaWriter) finish() ([]byte, error) {
	m.close()
	return m.done, m.err
}

// appendMetadata adds a metadata block with its length: packed if that is
// shorter than data, and data as it is otherwise.
func appendMetadata(dst, packed, data []byte) []byte {
	if len(packed) == 0 || len(packed) >= len(data) {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(data))|metadataStored)
		return append(dst, data...)
	}
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(packed)))
	return append(dst, packed...)
}
