#!/bin/sh
# Shepherd Model Gateway (Rust).   pip install smg (in an environment of its own), then put its bin into PATH.
# Usage: smg.sh PORT UPSTREAM_PORT DIRECTORY ADMIN_PORT
set -eu
exec smg launch --host 127.0.0.1 --port "$1" --worker-urls "http://127.0.0.1:$2" --policy round_robin \
  --backend openai --prometheus-port "$4" --log-level error
