"""Observability: access log, metrics, process log.

Contains: all metric names, the access-log line. May not: influence an exchange, or block the event loop.
"""
