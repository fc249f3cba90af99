#!/usr/bin/env bash
# Prints the name of the base image: BASE_IMAGE, or where no registry has it a stand-in of Debian's own packages.
set -euo pipefail
BASE_IMAGE=${BASE_IMAGE:-python:3.13-slim-trixie}
STAND_IN=headwater-base:trixie

if "$DOCKER" image inspect "$BASE_IMAGE" > /dev/null 2>&1 || "$DOCKER" pull -q "$BASE_IMAGE" > /dev/null 2>&1; then
  echo "$BASE_IMAGE"
  exit
fi
if ! "$DOCKER" image inspect "$STAND_IN" > /dev/null 2>&1; then
  echo "$BASE_IMAGE cannot be pulled; making a stand-in of Debian's packages" >&2
  if ! command -v debootstrap > /dev/null; then
    echo "error: a stand-in for $BASE_IMAGE needs debootstrap; install it, or name an image that can be pulled in BASE_IMAGE" >&2
    exit 3
  fi
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  debootstrap --variant=minbase --include=python3,ca-certificates,netbase,tzdata trixie "$root" > "$root.log" 2>&1 ||
    { tail -3 "$root.log" >&2; exit 1; }
  rm -rf "$root.log" "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/{doc,man,locale,info}/*
  ln -s python3 "$root/usr/bin/python"
  # Its layer is the folder's; nothing else is known of it.
  tar -C "$root" --exclude=./dev/* --exclude=./proc/* --exclude=./sys/* -cf - . | "$DOCKER" import --change 'CMD ["python3"]' - "$STAND_IN" > /dev/null
fi
echo "$STAND_IN"
