"""Doors: where requests come in and responses go out.

Lives here: the byte lane (llhttp on the event loop), the aiohttp door, and what both share.
Doors build an InboundRequest and offer a Downstream; they know nothing of models, routes or providers.
"""
