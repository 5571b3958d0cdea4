"""The Responses API: readers and writers of requests and answers, repair of streams, an estimate of input tokens."""
