#!/bin/sh
# Runs tests of packages as root in a small virtual machine, under a kernel of
# choice and on a pure cgroup v2 hierarchy with all controllers: what the
# machine at hand may not have. The machine's files are the guest's, too, read
# only with a layer of memory on top: the same tools, the same paths.
set -eu

usage() {
  cat <<'USAGE'
usage: ci/vm-test.sh -k VMLINUZ -m MODULES [-o DIR] [-a ARGS] [-d MODULE]... [-b] PACKAGE...

  -k VMLINUZ  the kernel
  -m MODULES  its modules: the folder lib/modules/RELEASE, with 9p, virtio and overlay
  -o DIR      where the logs stay: NAME.log a package (default: a new folder)
  -a ARGS     for the test binaries, such as "-test.run Group -test.v" (default: -test.v)
  -d MODULE   a module to load first, such as vgem, which makes a /dev/dri
  -b          v1 hierarchies and a unified one without controllers ("hybrid")

Needs qemu-system-x86_64, busybox and Go. ACCEL (kvm where it can be opened, else
tcg, which is about ten times slower: then set PVKIT_SLOW=10 for tests that wait),
MEMORY (MiB, 3072) and CPUS (2) may be set.
Debian's kernel need not be installed:
  apt-get download linux-image-VERSION-amd64; dpkg-deb -x linux-image-*.deb k
  busybox depmod -b k VERSION-amd64
  ci/vm-test.sh -k k/boot/vmlinuz-* -m k/lib/modules/* ./runtime/appengine/sandbox/...
The exit code is 0 if every package's tests pass, 1 if not, 2 if the guest did not run them.
USAGE
}

kernel= modules= out= args=-test.v load= layout=v2 accel=tcg,thread=multi
while getopts k:m:o:a:d:bh opt; do
  case $opt in
  k) kernel=$OPTARG ;; m) modules=$(realpath "$OPTARG") ;; o) out=$OPTARG ;; a) args=$OPTARG ;;
  d) load="$load $OPTARG" ;; b) layout=hybrid ;; h) usage; exit 0 ;; *) usage >&2; exit 64 ;;
  esac
done
shift $((OPTIND - 1))
[ -n "$kernel" ] && [ -n "$modules" ] && [ $# -gt 0 ] || { usage >&2; exit 64; }
for tool in qemu-system-x86_64 busybox go; do
  command -v $tool >/dev/null || { echo "vm-test: $tool is missing" >&2; exit 2; }
done
b=$(command -v busybox) release=$(basename "$modules")
out=${out:-$(mktemp -d "${TMPDIR:-/tmp}/vm-test.XXXXXX")}
mkdir -p "$out" && out=$(realpath "$out") && rm -f "$out"/*.test "$out"/*.log "$out"/result

words=$(set -f; for w in $args; do printf "'%s' " "$w"; done)

# The binaries are made here. What they build themselves finds our caches.
export CGO_ENABLED=0
{
  echo "export PATH=$PATH:/usr/sbin:/sbin HOME=$HOME CGO_ENABLED=0 PVKIT_REQUIRE='${PVKIT_REQUIRE:-}' PVKIT_SLOW=${PVKIT_SLOW:-}"
  echo "export GOCACHE=$(go env GOCACHE) GOMODCACHE=$(go env GOMODCACHE) GOFLAGS=-mod=readonly GOPROXY=off"
  echo 'ulimit -n 65536; failed=0; export TMPDIR=/run/tmp; mkdir -m 1777 /run/tmp'
  go list -f '{{.Dir}} {{.ImportPath}}' "$@" | while read -r dir path; do
    name=$out/$(echo "${path#*/*/*/}" | tr / -)
    go test -c -o "$name.test" "$path" >&2
    [ -e "$name.test" ] || continue # no tests
    echo "cd $dir; $name.test $words >$name.log 2>&1 </dev/null || failed=1; echo $path: \$(tail -n 1 $name.log)"
  done
  echo "echo \$failed >$out/result"
} >"$out/run"

# The guest's first process gets at the machine's files and goes over to them.
fs=$out/initramfs
rm -rf "$fs"
mkdir -p "$fs/bin" "$fs/proc" "$fs/host" "$fs/ram" "$fs/root" "$fs/lib/modules/$release"
for f in "$b" $(ldd "$b" 2>/dev/null | grep -o '/[^ ]*'); do
  install -D "$f" "$fs$f"
done
ln -sf "$b" "$fs/bin/sh"
cp "$modules"/modules.* "$fs/lib/modules/$release/"
for m in virtio_pci 9pnet_virtio 9p overlay; do # with what they need
  sed -n "s|^\([^:]*/$m\.ko[^:]*\): *|\1 |p" "$modules/modules.dep"
done | tr ' ' '\n' | grep . | sort -u | while read -r m; do
  install -D "$modules/$m" "$fs/lib/modules/$release/$m"
done
cat >"$fs/init" <<INIT
#!/bin/sh
$b --install -s /bin 2>/dev/null
mount -t proc proc /proc
for m in virtio_pci 9pnet_virtio 9p overlay; do modprobe \$m; done
share=trans=virtio,version=9p2000.L,msize=262144,cache=loose
mount -t 9p -o ro,\$share machine /host
mount -t tmpfs -o mode=755,size=90% tmpfs /ram
mkdir /ram/up /ram/work
mount -t overlay -o lowerdir=/host,upperdir=/ram/up,workdir=/ram/work overlay /root
cd /root
for k in proc sysfs:sys devtmpfs:dev; do mount -t \${k%:*} \${k%:*} \${k#*:}; done
mkdir -p dev/pts dev/shm lib/modules/$release
mount -t devpts -o mode=600,ptmxmode=000 devpts dev/pts
for d in dev/shm run; do mount -t tmpfs -o mode=1777 tmpfs \$d; done
chmod 755 run
mkdir -p .$out
mount -t 9p -o ro,\$share modules lib/modules/$release
mount -t 9p -o \$share out .$out
ln -sf $b sbin/modprobe
ip link set lo up
v2=sys/fs/cgroup
if [ $layout = hybrid ]; then
  mount -t tmpfs -o mode=755 tmpfs \$v2
  for c in cpu cpuacct cpuset memory devices freezer blkio pids; do
    mkdir \$v2/\$c && mount -t cgroup -o \$c cgroup \$v2/\$c
  done
  v2=\$v2/unified
  mkdir \$v2
fi
mount -t cgroup2 cgroup2 \$v2
exec switch_root /root $b sh -c 'for m in loop squashfs $load; do modprobe \$m; done
  $b sh $out/run; sync; echo o >/proc/sysrq-trigger; sleep 100'
INIT
chmod 755 "$fs/init"
(cd "$fs" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$out/initramfs.gz"

echo "vm-test: $release, cgroup $layout, logs in $out"
[ ! -w /dev/kvm ] || accel=kvm
nice qemu-system-x86_64 -accel "${ACCEL:-$accel}" -cpu max,arch-capabilities=off -smp "${CPUS:-2}" -m "${MEMORY:-3072}" \
  -nodefaults -no-user-config -display none -no-reboot -serial stdio \
  -kernel "$kernel" -initrd "$out/initramfs.gz" -append "console=ttyS0 loglevel=2 panic=-1" \
  -virtfs "local,path=/,mount_tag=machine,security_model=none,readonly=on,multidevs=remap" \
  -virtfs "local,path=$modules,mount_tag=modules,security_model=none,readonly=on" \
  -virtfs "local,path=$out,mount_tag=out,security_model=none" </dev/null
[ -s "$out/result" ] || exit 2
exit "$(cat "$out/result")"
