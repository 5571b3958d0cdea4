"""The compiled configuration: what a file becomes before the first request needs it.

Pure. Lives here: frozen shapes of targets, providers, keys and their policies. Everything that can be computed once per
reload is a field, as bytes where the wire wants bytes. May not: decide anything about a request.
"""
