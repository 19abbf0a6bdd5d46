#!/bin/sh
# The main job on real input; `make demo` calls it.
set -eu
bin/pvkit version
