// Package nsinject reaches into running containers on Linux: it listens and
// dials at their paths, reads their files and makes device nodes, without
// entering a namespace.
//
// [Injector.Enter] opens a pidfd and /proc/<pid>/root. From then on everything
// goes through that directory's descriptor with openat2(2), RESOLVE_IN_ROOT and
// RESOLVE_NO_MAGICLINKS: whatever symbolic links a container makes, absolute,
// with "..", or swapped while we look, a path never leaves its tree. Sockets are
// bound and dialed through /proc/self/fd, so sun_path's 108 bytes do not limit
// a path.
//
// A path appears complete: a socket or node is made under a temporary name in
// its directory and renamed when its mode and owner are right.
package nsinject
