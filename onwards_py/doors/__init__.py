"""Doors: client connections.

In this room: the byte lane (llhttp on the event loop), the aiohttp door, and what both share.
Doors read an InboundRequest and offer a Downstream. They do not know models, routes or providers.
"""
