#!/bin/sh
# Makes the images beside this file again. Needs root, squashfs-tools, attr and
# python3. mksquashfs gives the same bytes for the same tree and version.
set -eu
out=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
umask 022
mkdir -p src/dir/sub src/empty src/many
printf 'hello squashfs\n' > src/hello; chmod 640 src/hello; chown 1000:100 src/hello
: > src/zero
yes 'a line that compresses well' | head -c 9000 > src/blocks
python3 -c "import random,sys; random.seed(1); sys.stdout.buffer.write(random.randbytes(5000))" > src/stored
truncate -s 20000 src/sparse; printf x | dd of=src/sparse bs=1 seek=12000 conv=notrunc status=none
ln src/hello src/dir/hard
ln -s ../hard src/dir/sub/link
ln -s /hello src/abs
mknod src/dev-c c 1 3; mknod src/dev-b b 259 70000; mkfifo src/fifo
python3 -c "import socket;s=socket.socket(socket.AF_UNIX);s.bind('src/sock')"
chmod 4755 src/blocks; chmod 1777 src/empty; chmod 2750 src/dir
big=$(printf 'y%.0s' $(seq 300))
setfattr -n user.note -v value src/hello
setfattr -n user.note -v value src/zero
setfattr -n trusted.big -v "$big" src/stored
setfattr -n trusted.big -v "$big" src/dir
setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 src/stored
i=0; while [ $i -lt 40 ]; do echo $i > src/many/file-$i; i=$((i+1)); done
find src -exec touch -h -d @1700000000 {} +
mk() {
	name=$1; shift
	mksquashfs src "$name" -quiet -no-progress -mkfs-time 1700000000 "$@" >/dev/null
	gzip -9n < "$name" > "$out/$name.gz"
}
mk gzip.sqfs -b 4096
mk gzipopt.sqfs -Xcompression-level 5 -Xstrategy filtered,fixed -no-exports
mk xz.sqfs -comp xz -b 4096
mk lz4.sqfs -comp lz4 -b 4096
mk lz4hc.sqfs -comp lz4 -Xhc
mk zstd.sqfs -comp zstd -b 4096
mk lzma.sqfs -comp lzma -b 4096
mk lzo.sqfs -comp lzo -b 4096
mk none.sqfs -noI -noD -noF -noX -b 4096
mk nofrag.sqfs -no-fragments -b 4096
# Calls of one function from many places: the x86 filter makes them equal.
rm -rf src; mkdir src
python3 -c "
import struct, sys
for i in range(800):
    sys.stdout.buffer.write(b'\\x90\\x55\\xe8' + struct.pack('<i', 0x4000 - 7 * i))
" > src/code
find src -exec touch -h -d @1700000000 {} +
mk xzbcj.sqfs -comp xz -b 8192 -Xbcj x86
