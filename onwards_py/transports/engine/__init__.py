"""Local models, each in a process of its own: the process, its supervisor, and the transport to it."""
