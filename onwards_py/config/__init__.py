"""Configuration: from ``targets.yaml`` to an immutable snapshot.

Lives here: the typed shape of the file, its parser with positions, the compilation into a snapshot, reading it again.
Pure but for reading files and environment variables; nothing here knows sockets, and only ``watch`` the event loop.
"""
