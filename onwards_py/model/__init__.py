"""The compiled configuration: the form of a file that requests use.

Pure. Contains: frozen shapes of targets, providers, keys and their policies. Every value that can be computed once per
reload is a field, as bytes where it is sent on the wire. May not: decide anything about a request.
"""
