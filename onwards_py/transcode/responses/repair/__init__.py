"""Repair of a Responses stream that its provider broke: the byte filter, its events and its items."""
