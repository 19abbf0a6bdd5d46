// Package storage keeps on disk what an appengine must not forget: revisions,
// objects, the boot state, progress, metadata, logs and containers' data. The
// layout is Pantavisor's own (pantavisor's paths.c and storage.c), so that the
// real runtime, pvr and pvtx find what they expect:
//
//	trails/<rev>/.pvr/json      the state, byte for byte as it came
//	trails/<rev>/.pvr/config    where pvr finds the objects
//	trails/<rev>/.pv/           progress, done, commitmsg, logs
//	trails/<rev>/<container>/…  hard links to objects, JSON values as files
//	trails/current              symlink to the running revision
//	objects/<sha256>            the contents
//	boot/uboot.txt              what to boot and what to try
//	cache/{usrmeta,devmeta}/    a file for each key
//	disks/, pv/, logs/, config/ what belongs to containers and the log server
//	.created, .pvtx-done        the skeleton exists; the first exports are in
//
// Two names are ours: .lock, held by the engine that runs on the storage, and
// .tmp, where everything is made before it gets its place.
//
// Whatever a method has acknowledged by returning nil has reached the disk.
// New content is written under .tmp, synced and renamed, so that a process
// that is killed at any instant leaves the old content or the new one; Open
// clears what it left under .tmp. Start with Open.
package storage
