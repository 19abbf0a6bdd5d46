#!/bin/sh
# Builds every command twice, from two copies in two places with two umasks
# and two build caches, and compares the bytes.
set -eu
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
for side in a b; do
  mkdir -p "$tmp/$side/deep"
  git ls-files -z | xargs -0 tar -cf - | tar -xf - -C "$tmp/$side/deep"
done
(umask 022 && cd "$tmp/a/deep" && CGO_ENABLED=0 GOCACHE="$tmp/ca" go build -trimpath -buildvcs=false -o "$tmp/oa/" ./cmd/...)
(umask 077 && cd "$tmp/b/deep" && mv ../deep ../other && cd ../other && CGO_ENABLED=0 GOCACHE="$tmp/cb" go build -p 1 -trimpath -buildvcs=false -o "$tmp/ob/" ./cmd/...)
for f in "$tmp"/oa/*; do
  cmp "$f" "$tmp/ob/${f##*/}"
  echo "identical ${f##*/}"
done
