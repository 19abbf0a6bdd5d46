#!/bin/sh
# The second half of `make demo`: runs the amd64 (or the machine's own) unix and
# rest examples of out/, waits until they are READY, shows who is linked to whom
# and what passes, and stops. Needs root for the mesh.
set -eu
case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
armv7*) arch=armv7 ;;
*) echo "The examples are not built for $(uname -m): nothing is run."; exit 0 ;;
esac
if [ "$(id -u)" != 0 ]; then
	echo "Containers are linked by pv-xconnect, which needs root: nothing is run. Try: sudo make demo"
	exit 0
fi
dir=$(mktemp -d)
pid=
stop() {
	[ -z "$pid" ] || { kill -INT "$pid" 2>/dev/null && wait "$pid" || true; }
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM
mkdir "$dir/in"
for name in unix-server unix-client rest-server rest-client; do
	cp "out/pv-example-$name-$arch.pvrexport.tgz" "$dir/in/"
done
pvcontrol() { bin/pvcontrol -s "$dir/run/pv-ctrl" "$@"; }
logs() { bin/pvkit logs --storage "$dir/storage" "$@"; }
# until COMMAND...: wait for it, at most 20 s.
until_true() {
	tries=0
	until "$@" 2>/dev/null; do
		tries=$((tries + 1))
		if [ $tries -gt 200 ] || ! kill -0 "$pid" 2>/dev/null; then
			echo "gave up waiting for: $*" >&2
			cat "$dir/log" >&2
			exit 1
		fi
		sleep 0.1
	done
}
ready() { pvcontrol devmeta ls | grep -q '"pantavisor.status":"READY"'; }
answered() { logs pv-example-unix-client | grep -q 'Hello from client' && logs pv-example-rest-client | grep -q '"service"'; }

printf '\n$ bin/pv-appengine --storage DIR/storage --rundir DIR/run DIR/in\n'
bin/pv-appengine --storage "$dir/storage" --rundir "$dir/run" "$dir/in" >"$dir/log" 2>&1 &
pid=$!
until_true ready
grep -E 'STARTED|READY' "$dir/log"
printf '\n$ bin/pvcontrol graph ls\n'
pvcontrol graph ls
until_true answered
printf '\n$ bin/pvkit logs pv-example-unix-client pv-example-rest-client\n'
logs pv-example-unix-client pv-example-rest-client | tail -n 12
printf '\n$ kill -INT PID\n'
kill -INT "$pid"
wait "$pid" || code=$?
pid=
grep -c STOPPED "$dir/log" | sed 's/$/ containers stopped/'
