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
// # What a machine may lack
//
// Host.Notes says it in words, and so does the log:
//   - no loop devices, or no right to use them: images are unpacked once each
//     into ImageDir;
//   - cgroup v2, v1, or both are used as they are there; without the pids
//     controller the number of processes is limited by the pid namespace, to
//     300 or more, from Linux 6.14 on, and before that not at all; without any
//     group a container's processes are known by its namespaces;
//   - rules on devices (lxc.cgroup.devices, lxc.cgroup2.devices) go to v1's
//     controller or into a BPF program on v2; where neither may be used each is
//     a warning;
//   - without CAP_SYS_ADMIN containers run in user namespaces: images are
//     unpacked and belong to this user, devices are the host's nodes, /sys is
//     the host's unless the network is the container's own, there is one user
//     (more with newuidmap), and pools of addresses cannot be had;
//   - Linux before 5.12 is refused.
//
// Not done at all, and said as a warning with its line: hooks, seccomp,
// AppArmor, SELinux, idmap, shared namespaces and included files.
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
