"""Chat over responses: a client of ``POST /v1/chat/completions``, a provider of ``POST /v1/responses``.

Pure. `request` makes the provider's request and a `Context`; `response` and `stream` make the client's answer with it;
the `pipeline` above alone knows of bytes. What both directions share, policy, quirks, failures, lenient JSON, is
`responses_over_chat`'s.
"""
