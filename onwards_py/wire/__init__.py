"""Wire formats: bytes in, bytes and events out. Pure.

In this room: header rules, the model scan, target joining, SSE framing, the error envelope.
It knows no provider, key or API.
It uses no sockets, clocks, files, event loop or log.
"""
