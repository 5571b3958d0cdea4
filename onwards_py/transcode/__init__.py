"""Transcode: one API dialect into another.

Pure. Lives here: the shapes of the dialects (`dialects`) and, for each pair, the mapping of a request, of a whole
answer and of a streamed one (`responses_over_chat`: the client speaks Responses, the provider Chat Completions;
`chat_over_responses`: the reverse). `pipeline` joins the machines of both with bytes.
May not: touch sockets, clocks, randomness, files or the log; times and ids are arguments.
"""
