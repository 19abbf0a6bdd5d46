// Package lxctools is lxc-ls and lxc-info for containers that no LXC runs:
// Pantavisor's test plans look at containers with these two programs, and scripts
// read their output. [MainLs] and [MainInfo] print what LXC 5.0 prints, to the
// blank, from the list that the runtime keeps in its run directory (package
// rundir) and from /proc.
//
// A container whose process is alive is RUNNING, whatever the runtime calls it;
// the runtime's own words are in pvcontrol ls.
package lxctools
