#!/usr/bin/env bash
# Builds the images by their names and the package's version, and writes the list of what is in each beside them.
set -euo pipefail
cd "$(dirname "$0")/.."
BASE=$(images/base.sh)
VERSION=$(sed -n 's/^VERSION = "\(.*\)"/\1/p' setup.py)
SBOMS=build/images
mkdir -p "$SBOMS"
arguments=(--network host --build-arg "BASE_IMAGE=$BASE" --build-arg "VERSION=$VERSION"
  --build-arg "REVISION=${REVISION-$(git rev-parse HEAD 2> /dev/null || true)}" --build-arg "SOURCE=${SOURCE-}")
for name in PIP_INDEX_URL UV_INDEX_URL; do [ -z "${!name-}" ] || arguments+=(--build-arg "$name"); done
# The certificates of this machine's, where its network has one of its own.
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
[ ! -s "$certificates" ] || arguments+=(--secret "id=certificates,src=$certificates")
for target in headwater-core headwater-tfdv; do
  "$DOCKER" build -q "${arguments[@]}" -f images/Dockerfile --target "$target" -t "$target:$VERSION" . > /dev/null
  "$DOCKER" run --rm -i --network none "$target:$VERSION" python3 - "$target" "$VERSION" < images/sbom.py > "$SBOMS/$target.cdx.json"
  size=$("$DOCKER" image inspect -f '{{.Size}}' "$target:$VERSION")
  echo "$target:$VERSION  $((size / 1000000)) MB, of them base $(($("$DOCKER" image inspect -f '{{.Size}}' "$BASE") / 1000000)); $SBOMS/$target.cdx.json"
done
