// Package machine knows what processor a program is for, and whether this
// machine runs it. The kernel only says "exec format error".
package machine

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// SearchPath is where a program is looked for with this environment: its PATH,
// or that of lxc and of docker.
func SearchPath(env []string) string {
	dirs := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			dirs = v
		}
	}
	return dirs
}

// Program is an executable that the kernel would load: of a script, the one
// that reads it.
type Program struct {
	Path string // below the root, without a slash at the front
	head []byte // as much as the kernel looks at
}

// headSize is what the kernel reads to know what a file is (BINPRM_BUF_SIZE).
const headSize = 256

// Find gives the program that the kernel would load for a command in a root. A
// name without a slash is looked for in dirs. The error of a root without it is
// fs.ErrNotExist.
func Find(root fs.FS, command string, dirs []string) (Program, error) {
	if !strings.Contains(command, "/") {
		for _, dir := range dirs {
			p, err := Find(root, path.Join("/", dir, command), nil)
			if !errors.Is(err, fs.ErrNotExist) {
				return p, err
			}
		}
		return Program{}, fmt.Errorf("%s: %w", command, fs.ErrNotExist)
	}
	const deepest = 5 // scripts of scripts (bprm_execve in fs/exec.c)
	for range deepest {
		p := Program{Path: strings.TrimPrefix(path.Join("/", command), "/")}
		f, err := root.Open(p.Path)
		if err != nil {
			return p, err
		}
		p.head, err = io.ReadAll(io.LimitReader(f, headSize))
		if err := errors.Join(err, f.Close()); err != nil {
			return p, err
		}
		rest, script := bytes.CutPrefix(p.head, []byte("#!"))
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		if words := bytes.Fields(line); !script || len(words) == 0 {
			return p, nil
		} else {
			command = string(words[0])
		}
	}
	return Program{}, fmt.Errorf("%s: its scripts need more than %d others", command, deepest-1)
}

// names are those that Go and Debian's users know; the others have ELF's.
var names = map[elf.Machine]string{
	elf.EM_X86_64: "amd64", elf.EM_386: "386", elf.EM_AARCH64: "arm64", elf.EM_ARM: "arm", elf.EM_RISCV: "riscv",
	elf.EM_PPC64: "ppc64", elf.EM_S390: "s390x", elf.EM_LOONGARCH: "loong64", elf.EM_MIPS: "mips",
}

// Arch is the processor that the program is for, as Go names it, "" if it is no
// ELF file.
func (p Program) Arch() string {
	const class, data, machine = 4, 5, 18 // elf(5)
	if len(p.head) < machine+2 || !bytes.HasPrefix(p.head, []byte(elf.ELFMAG)) {
		return ""
	}
	order := binary.ByteOrder(binary.LittleEndian)
	little := elf.Data(p.head[data]) == elf.ELFDATA2LSB
	if !little {
		order = binary.BigEndian
	}
	m := elf.Machine(order.Uint16(p.head[machine:]))
	name, known := names[m]
	switch {
	case !known:
		return strings.ToLower(strings.TrimPrefix(m.String(), "EM_"))
	case m == elf.EM_RISCV && elf.Class(p.head[class]) == elf.ELFCLASS64:
		return "riscv64"
	case m == elf.EM_PPC64 && little:
		return "ppc64le"
	}
	return name
}

// Host is the processor of this machine, as Go names it.
func Host() string { return runtime.GOARCH }

// older are those whose programs a processor may run beside its own.
var older = map[string]string{"amd64": "386", "arm64": "arm"}

// Foreign tells that the program is for another machine, and that this one has
// no emulator for it. What is no ELF file is not.
func (p Program) Foreign() bool {
	arch := p.Arch()
	return arch != "" && arch != Host() && arch != older[Host()] && !p.emulated("/proc/sys/fs/binfmt_misc")
}

// emulated looks for the program among the kernel's further formats, of which
// those with the flag F work in containers (binfmt_misc.rst).
func (p Program) emulated(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if text, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil && p.matches(text) {
			return true
		}
	}
	return false
}

// matches compares with an entry as the kernel prints it.
func (p Program) matches(entry []byte) bool {
	var magic, mask []byte
	offset, enabled, fixed := 0, false, false
	for s := bufio.NewScanner(bytes.NewReader(entry)); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), " ")
		var err error
		switch key {
		case "enabled":
			enabled = true
		case "flags:":
			fixed = strings.Contains(value, "F")
		case "offset":
			offset, err = strconv.Atoi(value)
		case "magic":
			magic, err = hex.DecodeString(value)
		case "mask":
			mask, err = hex.DecodeString(value)
		}
		if err != nil {
			return false
		}
	}
	if !enabled || !fixed || len(magic) == 0 || offset < 0 || offset+len(magic) > len(p.head) {
		return false
	}
	for i, m := range magic {
		b := p.head[offset+i]
		if i < len(mask) {
			b, m = b&mask[i], m&mask[i]
		}
		if b != m {
			return false
		}
	}
	return true
}
