"""Repair of defective Responses streams of providers: the byte filter, its events and its items."""
