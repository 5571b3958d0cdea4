"""Configuration: from ``targets.yaml`` to an immutable snapshot.

Contains: the accepted keys (``*_schema``, and `onwards_py.setting`), the parser with positions, the compilation into
a snapshot (``compile*``), and hot reload. It reads files and environment variables, and has no other effects; only
``watch`` uses the event loop, and no file uses sockets.
"""
