"""The proxy: the life of a request, from the door to the provider and back.

Lives here: the exchange record, the handler, one attempt, finding the model. May not: parse HTTP, know sockets, or hold
configuration of its own.
"""
