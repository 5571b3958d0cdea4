#!/bin/sh
# Onwards (Rust), the original.   cargo install onwards
# Usage: onwards.sh PORT UPSTREAM_PORT DIRECTORY ADMIN_PORT
set -eu
cat > "$3/targets.json" <<JSON
{"targets": {"bench": {"url": "http://127.0.0.1:$2/", "onwards_key": "sk-upstream"}}}
JSON
exec onwards --targets "$3/targets.json" --port "$1" --metrics-port "$4"
