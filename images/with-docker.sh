#!/usr/bin/env bash
# Runs a command with Docker: with the daemon that runs, else with one of its own, which ends with the command.
# DOCKER names the client: one that builds with BuildKit, by buildx or as those before 23 do by themselves.
set -euo pipefail

able() { [ -x "$(command -v "$1")" ] && { "$1" buildx version || [ "$("$1" --version | grep -oE '[0-9]+' | head -1)" -lt 23 ]; } > /dev/null 2>&1; }

for client in ${DOCKER:-docker /usr/bin/docker}; do
  if able "$client"; then DOCKER=$client; found=yes; break; fi
done
if [ -z "${found:-}" ]; then
  echo "error: no Docker that builds with BuildKit was found; install Docker with its buildx plugin, or Debian's docker.io" >&2
  exit 3
fi
export DOCKER DOCKER_BUILDKIT=1

if ! "$DOCKER" info > /dev/null 2>&1; then
  if ! command -v dockerd > /dev/null || [ "$(id -u)" != 0 ]; then
    echo "error: no Docker daemon answers, and only root can start one here; start Docker, or name it in DOCKER_HOST" >&2
    exit 3
  fi
  log=$(mktemp)
  # Without a bridge and rules of its own it runs where a daemon may not change the network.
  dockerd --iptables=false --bridge=none > "$log" 2>&1 &
  daemon=$!
  trap 'kill "$daemon"; wait "$daemon" || true; rm -f "$log"' EXIT
  for _ in $(seq 60); do
    "$DOCKER" info > /dev/null 2>&1 && break
    kill -0 "$daemon" 2> /dev/null || break
    sleep 0.5
  done
  if ! "$DOCKER" info > /dev/null 2>&1; then
    echo "error: dockerd did not start; its last lines:" >&2
    tail -5 "$log" >&2
    exit 3
  fi
fi
"$@"
