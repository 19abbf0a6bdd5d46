#!/bin/sh
# The main job on real input; `make demo` calls it: the example containers for
# three platforms, what is in them, whether a device would take them, and the
# containers at work.
set -eu
say() { printf '\n$ %s\n' "$*"; "$@"; }
rm -rf out

say bin/pvkit build examples/pv-example-* --arch amd64,arm64,armv7 -o out
set -- out/*.pvrexport.tgz
say bin/pvkit verify "$@"
say bin/pvkit inspect "$1"
say bin/pvkit ls -R "$1" /usr

sh ci/demo-run.sh
