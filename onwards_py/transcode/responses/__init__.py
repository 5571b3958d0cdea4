"""The Responses API: reading and writing its requests and answers, repairing its streams, estimating its tokens."""
