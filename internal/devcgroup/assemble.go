package devcgroup

import (
	"slices"

	"golang.org/x/sys/unix"
)

// insn is struct bpf_insn: an operation, two registers, an offset, a number.
type insn struct {
	op   uint8
	regs uint8 // the destination in the low half, as on every platform of ours
	off  int16
	imm  int32
}

// Registers. The kernel keeps 6 to 9 in a call of a helper.
const (
	r0, r1, r2 = 0, 1, 2
	kind       = 6
	access     = 7
	major      = 8
	minor      = 9
	frame      = 10
)

const helperMapLookup = 1 // BPF_FUNC_map_lookup_elem

// BPF_ALU is arithmetic on 32 bits.
func alu(op uint8, dst uint8, imm int32) insn {
	return insn{op: unix.BPF_ALU | unix.BPF_K | op, regs: dst, imm: imm}
}

func move(dst, src uint8) insn {
	return insn{op: unix.BPF_ALU64 | unix.BPF_X | unix.BPF_MOV, regs: dst | src<<4}
}

func load(dst, src uint8, off int16) insn {
	return insn{op: unix.BPF_LDX | unix.BPF_W | unix.BPF_MEM, regs: dst | src<<4, off: off}
}

func store(dst, src uint8, off int16) insn {
	return insn{op: unix.BPF_STX | unix.BPF_W | unix.BPF_MEM, regs: dst | src<<4, off: off}
}

func jump(op uint8, reg uint8, imm int32, off int) insn {
	return insn{op: unix.BPF_JMP | unix.BPF_K | op, regs: reg, imm: imm, off: int16(off)}
}

// answer ends the program: 1 lets the process have the device.
func answer(allow bool) []insn {
	a := insn{op: unix.BPF_ALU64 | unix.BPF_K | unix.BPF_MOV, regs: r0}
	if allow {
		a.imm = 1
	}
	return []insn{a, {op: unix.BPF_JMP | unix.BPF_EXIT}}
}

// assemble makes the program. Its argument is a struct bpf_cgroup_dev_ctx: what
// is wanted in the upper and the kind in the lower half of the first number,
// then the major and the minor one.
func (p *Policy) assemble(grants int) []insn {
	out := []insn{
		load(kind, r1, 0), move(access, kind),
		alu(unix.BPF_AND, kind, 0xffff), alu(unix.BPF_RSH, access, 16),
		load(major, r1, 4), load(minor, r1, 8),
		// r0 = what was granted for the key (kind, major, minor)
		store(frame, kind, -12), store(frame, major, -8), store(frame, minor, -4),
		{op: unix.BPF_LD | unix.BPF_DW | unix.BPF_IMM, regs: r1 | unix.BPF_PSEUDO_MAP_FD<<4, imm: int32(grants)}, {},
		move(r2, frame), {op: unix.BPF_ALU64 | unix.BPF_K | unix.BPF_ADD, regs: r2, imm: -12},
		{op: unix.BPF_JMP | unix.BPF_CALL, imm: helperMapLookup},
	}
	granted := slices.Concat([]insn{
		load(r1, r0, 0), alu(unix.BPF_XOR, r1, -1), // what was not
		{op: unix.BPF_ALU | unix.BPF_X | unix.BPF_AND, regs: r1 | access<<4},
		jump(unix.BPF_JNE, r1, 0, 2),
	}, answer(true))
	out = append(out, jump(unix.BPF_JEQ, r0, 0, len(granted)))
	out = append(out, granted...)
	for _, e := range p.exceptions {
		out = append(out, e.assemble(!p.allow)...)
	}
	return append(out, answer(p.allow)...)
}

// assemble makes the part for one exception, which falls through if it is about
// another device. To be allowed, all of what is wanted has to be in it; to be
// forbidden, one is enough (__devcgroup_check_permission in
// security/device_cgroup.c).
func (e exception) assemble(allow bool) []insn {
	end := answer(allow)
	if e.access != everything || !allow {
		mask, op := e.access, uint8(unix.BPF_JEQ)
		if allow {
			mask, op = everything&^e.access, unix.BPF_JNE
		}
		end = slices.Concat([]insn{move(r1, access), alu(unix.BPF_AND, r1, int32(mask)), jump(op, r1, 0, len(end))}, end)
	}
	for _, c := range []struct {
		reg  uint8
		want uint32
	}{{minor, e.Minor}, {major, e.Major}, {kind, e.kind()}} {
		if c.want != every {
			end = slices.Insert(end, 0, jump(unix.BPF_JNE, c.reg, int32(c.want), len(end)))
		}
	}
	return end
}
