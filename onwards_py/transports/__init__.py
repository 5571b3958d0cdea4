"""Transports: one round trip to a provider.

Lives here: the head that a provider gets, the HTTP/1.1 client (connection, keep-alive pool, dialling) and local
providers. May not: know routes, principals or configuration files; decide what an ending means for the client.
"""
