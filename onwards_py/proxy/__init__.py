"""The life of a request, from the door to the provider and back.

Here: the handler, the exchange, attempts and their retries, the response on its way to the client.
Not here: HTTP parsing, sockets, configuration, and what needs no exchange: the model lookup, the plan, logs.
"""
