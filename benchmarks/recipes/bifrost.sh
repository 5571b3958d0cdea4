#!/bin/sh
# Bifrost (Go).   go install github.com/maximhq/bifrost/transports/bifrost-http@latest
# Usage: bifrost.sh PORT UPSTREAM_PORT DIRECTORY
set -eu
cat > "$3/config.json" <<JSON
{"providers": {"openai": {"keys": [{"name": "bench", "value": "sk-upstream", "models": ["bench"], "weight": 1.0}],
                          "network_config": {"base_url": "http://127.0.0.1:$2", "allow_private_network": true}}},
 "client": {"enable_logging": false}, "config_store": {"enabled": false}}
JSON
exec bifrost-http -app-dir "$3" -host 127.0.0.1 -port "$1" -log-level error
