"""Transports: one round trip to a provider.

In this room: the head of a request to a provider, the HTTP/1.1 client (connection, keep-alive pool, dialling) and local
providers.
Transports do not know routes, principals or configuration files, and do not decide how an ending affects the client.
"""
