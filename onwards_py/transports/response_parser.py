"""The response parser of one connection: llhttp's callbacks, and the facts that they collect."""

from __future__ import annotations

from typing import Final

import httptools

MAX_OVERHEAD: Final = 256 * 1024
"""Bytes in a row that are not body: heads, trailers, chunk extensions."""

MAX_INTERIM: Final = 16
"""Interim responses (1xx) before a response."""


class ResponseParser:
    """llhttp for the responses of one connection, one at a time."""

    __slots__ = (
        "at_boundary",
        "complete",
        "interim",
        "interim_heads",
        "is_head_request",
        "llhttp",
        "must_close",
        "on_body",
        "on_message_begin",
        "overhead",
        "own_pieces",
        "pieces",
        "raw",
        "status",
    )

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        """Body bytes of the current read."""
        self.on_body = self.pieces.append
        self.at_boundary: list[bool] = []
        """Not empty: a response has ended, and no byte of a further one has been parsed."""
        self.on_message_begin = self.at_boundary.clear  # a list, so that the callback needs no Python code
        self.own_pieces = 0
        """The number of ``pieces`` that belong to the response, once it is complete."""
        self.raw = b""
        """The bytes of the response, until its head is complete."""
        self.overhead = 0
        """Bytes since the last body byte."""
        self.interim = 0
        """Interim responses (1xx) so far. -1: the final head is complete."""
        self.interim_heads = 0
        """Number of interim responses before the final one."""
        self.status = 0
        self.is_head_request = False
        self.complete = True
        """The response is complete, or no response is awaited."""
        self.must_close = False
        """The connection cannot be used again."""
        self.llhttp = httptools.HttpResponseParser(self)

    def begin(self, is_head_request: bool) -> None:
        """Expect the response to a request."""
        self.raw = b""
        self.overhead = self.interim = 0
        self.is_head_request = is_head_request
        self.complete = False

    def close(self) -> None:
        """llhttp and this object refer to each other. Without that cycle both are freed at once."""
        del self.llhttp

    def take_body(self) -> bytes:
        """The body bytes of the current read, without bytes after a complete response."""
        pieces = self.pieces
        if self.complete:
            del pieces[self.own_pieces :]
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return body

    def is_excessive(self, count: int) -> bool:
        """Count ``count`` bytes that are neither head nor body. True if there are too many in a row."""
        self.overhead += count
        return self.overhead > MAX_OVERHEAD or self.interim > MAX_INTERIM

    # llhttp's callbacks

    def on_headers_complete(self) -> None:
        status = self.llhttp.get_status_code()
        if self.complete:
            self.must_close = True
            return
        if 100 <= status < 200:
            self.interim += 1
            return
        self.interim_heads = self.interim
        self.interim = -1
        self.status = status
        if self.is_head_request:
            self.complete = True
            self.own_pieces = 0
            self.must_close = True  # llhttp waits for a body, which a response to HEAD does not have

    def on_message_complete(self) -> None:
        if self.interim < 0 and not self.complete:  # a 1xx is followed by the final response
            self.complete = True
            self.at_boundary.append(True)
            self.own_pieces = len(self.pieces)
            if not self.llhttp.should_keep_alive():
                self.must_close = True
