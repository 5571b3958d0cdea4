"""Limits: token buckets, bounds on concurrency, admission.

Pure. Time is an argument (seconds of a monotonic clock). May not: wait, read clocks, know HTTP.
"""
