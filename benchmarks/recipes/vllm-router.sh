#!/bin/sh
# vllm-router (Rust).   pip install vllm-router (in an environment of its own), then put its bin into PATH.
# Usage: vllm-router.sh PORT UPSTREAM_PORT DIRECTORY ADMIN_PORT
set -eu
exec vllm-router --host 127.0.0.1 --port "$1" --worker-urls "http://127.0.0.1:$2" --policy round_robin \
  --prometheus-port "$4" --log-level error
