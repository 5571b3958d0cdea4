"""Observing: access log, metrics, process log.

Lives here: every metric name in one place, the access-log line, redaction. May not: influence an exchange, or block
the event loop.
"""
