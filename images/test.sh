#!/usr/bin/env bash
# Runs the tests inside the image as a pod runs it: not as root, the root file system read-only, without capabilities and
# without a network. Arguments are pytest's.
set -euo pipefail
cd "$(dirname "$0")/.."
BASE=$(images/base.sh)
VERSION=$(sed -n 's/^VERSION = "\(.*\)"/\1/p' setup.py)
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
arguments=(--network host --build-arg "BASE_IMAGE=$BASE" --build-arg "VERSION=$VERSION")
[ ! -s "$certificates" ] || arguments+=(--secret "id=certificates,src=$certificates")
"$DOCKER" build -q "${arguments[@]}" -f images/Dockerfile --target headwater-tests -t "headwater-tests:$VERSION" . > /dev/null
"$DOCKER" run --rm --init --read-only -v /tmp --cap-drop ALL --security-opt no-new-privileges --network none \
  --user 65532:65532 -v "$PWD:/checkout:ro" -w /opt/headwater -e HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis \
  "headwater-tests:$VERSION" pytest -q -rs -c /checkout/tests/pytest.ini --rootdir /checkout /checkout/tests \
  --ignore=/checkout/tests/storage --ignore=/checkout/tests/peers --ignore=/checkout/tests/engines \
  --ignore=/checkout/tests/images --ignore=/checkout/tests/reuse "$@"
