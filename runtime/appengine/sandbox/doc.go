// Package sandbox runs containers in Linux namespaces, without LXC, Docker or
// cgo. What a container is comes from its lxc.container.conf (package lxcconf)
// and from a Spec; what it is for, and when it starts and stops, is nobody's
// business here.
//
// A Host is one runtime's place on the machine: its directories and its
// cgroup. Open makes one. Mount places a container's volumes and returns where
// they are; Start runs the container on them; Container.Wait tells how it
// ended; Mounted.Unmount takes the volumes away. The two are apart because a
// container can be MOUNTED without being STARTED.
//
// A program that starts containers is executed again inside the new
// namespaces, so its main begins with
//
//	sandbox.Child()
//
// which returns at once in every other process. The child prepares mounts and
// privileges and then becomes the container's program, which is process 1
// there, as under LXC.
//
// # Safety
//
// Whatever an image holds, nothing outside the container's root is touched:
// paths in the root and in volumes are resolved by openat2(2) with
// RESOLVE_IN_ROOT. The child runs from a sealed copy of the program in memory,
// so that a container that gets hold of /proc/PID/exe cannot write to the
// program on disk (the lesson of CVE-2019-5736), it is not dumpable, and every
// descriptor above standard error is closed when the container's program
// starts.
package sandbox
