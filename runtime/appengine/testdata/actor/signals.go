package main

import (
	"syscall"
	"unsafe"
)

// action is the kernel's struct sigaction.
type action struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// stops are the signals that stop a container.
var stops = []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGPWR}

// handlers are those that Go's runtime has for every signal. Without them this
// program is like most others: what it has not asked for has its default action.
var handlers = quiet()

// quiet takes them away.
func quiet() (old []action) {
	for _, sig := range stops {
		var a action
		sigaction(sig, &action{}, &a)
		old = append(old, a)
	}
	return old
}

// hear puts them back.
func hear() {
	for i, sig := range stops {
		sigaction(sig, &handlers[i], nil)
	}
}

func sigaction(sig syscall.Signal, act, old *action) {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	if errno != 0 {
		check(errno)
	}
}
