#!/usr/bin/env bash
# Pushes the images that were built, by their names and version, to a registry.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${REGISTRY:-}" ]; then
  echo "error: name the registry, as in: make publish REGISTRY=registry.example.com/team" >&2
  exit 2
fi
VERSION=$(sed -n 's/^VERSION = "\(.*\)"/\1/p' setup.py)
for name in headwater-core headwater-tfdv; do
  image=${REGISTRY%/}/$name:$VERSION
  "$DOCKER" tag "$name:$VERSION" "$image"
  "$DOCKER" push -q "$image"
done
