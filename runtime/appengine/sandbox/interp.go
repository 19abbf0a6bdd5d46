package sandbox

import (
	"bufio"
	"bytes"
	"debug/elf"
	"io"
	"os"
	"strings"
)

// interpreter is what the kernel starts to run a program: the dynamic loader of
// an ELF file, or what stands behind a script's "#!". It is "" if there is none.
func interpreter(program string) string {
	f, err := os.Open(program)
	if err != nil {
		return ""
	}
	defer f.Close()
	line, _ := bufio.NewReader(io.LimitReader(f, 256)).ReadString('\n')
	if rest, ok := strings.CutPrefix(line, "#!"); ok {
		if words := strings.Fields(rest); len(words) > 0 {
			return words[0]
		}
		return ""
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return ""
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			data := make([]byte, p.Filesz)
			if _, err := p.ReadAt(data, 0); err != nil {
				return ""
			}
			return string(bytes.TrimRight(data, "\x00"))
		}
	}
	return ""
}
