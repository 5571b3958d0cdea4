"""The echo engine: responses of the OpenAI APIs, made from the request alone.

In this room: reading a request body, choosing the words of the response, making complete responses and streamed events.
These modules are pure: they import no asyncio, read no clock and keep no state, and time and ids are arguments.
`transport` and `pacer` add the delays, injected errors and truncated streams.
"""
