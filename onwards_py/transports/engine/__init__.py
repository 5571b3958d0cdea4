"""Providers that run a model in a process of their own: the process, its supervision, and the transport to it."""
