"""The wire: bytes in, bytes and events out.

Pure. Lives here: header rules, the model scan, target joining, SSE framing, the error envelope. Knows no
provider, key or API dialect. May not: touch sockets, clocks, files, the event loop or the log.
"""
