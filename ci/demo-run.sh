#!/bin/sh
# The second half of `make demo`: runs the unix and rest examples of out/ on
# this machine, waits until they are READY, shows who is linked to whom and what
# passes, and stops. Without root it tries with user namespaces.
set -eu
case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
armv7*) arch=armv7 ;;
*) echo "The examples are not built for $(uname -m): nothing is run."; exit 0 ;;
esac
state=$PWD/out/appengine
log=out/up.log
socket=$state/run/pv/pv-ctrl
pid=
stop() { [ -z "$pid" ] || { kill -INT "$pid" 2>/dev/null && wait "$pid" || true; }; }
trap stop EXIT
trap 'exit 130' INT TERM
pvcontrol() { bin/pvcontrol -s "$socket" "$@"; }
logs() { bin/pvkit logs --storage "$state/storage" "$@"; }
# until COMMAND...: wait for it, at most 20 s. An engine that ends has said why.
until_true() {
	tries=0
	until "$@" 2>/dev/null; do
		tries=$((tries + 1))
		if [ $tries -gt 200 ] || ! kill -0 "$pid" 2>/dev/null; then
			cat "$log"
			[ "$(id -u)" = 0 ] || {
				echo "Without root this user may not do here what containers need. Try: sudo make demo"
				exit 0
			}
			echo "gave up waiting for: $*" >&2
			exit 1
		fi
		sleep 0.1
	done
}
ready() { pvcontrol devmeta ls | grep -q '"pantavisor.status":"READY"'; }
answered() { logs pv-example-unix-client | grep -q 'Hello from client' && logs pv-example-rest-client | grep -q '"service"'; }

set --
for name in unix-server unix-client rest-server rest-client; do
	set -- "$@" "out/pv-example-$name-$arch.pvrexport.tgz"
done
printf '\n$ bin/pvkit up --state out/appengine out/pv-example-*-%s.pvrexport.tgz &\n' "$arch"
bin/pvkit up --state "$state" "$@" >"$log" 2>&1 &
pid=$!
until_true ready
cat "$log"
for what in 'groups ls' 'graph ls' 'daemons ls'; do
	printf '\n$ bin/pvcontrol -s out/appengine/run/pv/pv-ctrl %s\n' "$what"
	pvcontrol $what
done
# The clients ask every five seconds; the second time their links are there.
until_true answered
printf '\n$ bin/pvkit logs pv-example-unix-client pv-example-rest-client pv-example-rest-server\n'
logs pv-example-unix-client pv-example-rest-client pv-example-rest-server
printf '\n$ kill -INT PID\n'
code=0
kill -INT "$pid"
wait "$pid" || code=$?
pid=
tail -n 5 "$log"
exit $code
