#!/bin/sh
# LiteLLM proxy.   pip install 'litellm[proxy]' (in an environment of its own), then put its bin into PATH.
# Usage: litellm.sh PORT UPSTREAM_PORT DIRECTORY
set -eu
cat > "$3/litellm.yaml" <<YAML
model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_base: http://127.0.0.1:$2/v1
      api_key: sk-upstream
YAML
# The key that the load presents; without one LiteLLM does not start.
export LITELLM_MASTER_KEY=sk-client-0123456789abcdef0123456789abcdef
export LITELLM_LOG=ERROR LITELLM_LOCAL_MODEL_COST_MAP=True
exec litellm --config "$3/litellm.yaml" --host 127.0.0.1 --port "$1" --num_workers 1
