"""Transcode: one API into another.

Pure. Each API has a package (`chat`, `responses`) that reads and writes its requests and answers; `neutral` is the
model between them.
May not: touch sockets, clocks, randomness, files or the log; times and ids are arguments.
"""
