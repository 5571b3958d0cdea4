"""Transcode: one API into another.

Pure. A package per API reads and writes its requests and answers (`chat`, `responses`); `neutral` is what they share.
May not: touch sockets, clocks, randomness, files or the log; times and ids are arguments.
"""
