"""The echo engine: answers of the OpenAI shapes, made from the request alone.

Pure. Lives here: reading a request body, choosing the answer's words, building whole answers and
streamed events. Time and ids are arguments. Waiting, breaking off and injected errors are the
transport's. May not: import asyncio, read clocks, keep state between requests.
"""
