"""Chat Completions: reading and writing its requests and answers; presets of providers."""
