"""What several test files share: a gateway, upstreams, raw clients."""
