"""Responses over chat: a client of ``POST /v1/responses``, a provider of ``POST /v1/chat/completions``.

Pure. `request` makes the provider's request and a `Context`; `response` and `stream` make the client's answer with it;
the `pipeline` above alone knows of bytes.
"""
