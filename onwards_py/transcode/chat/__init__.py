"""Chat Completions: reading and writing its requests (`read_request`, `write_messages`) and its answers."""
