"""``GET /v1/models`` and ``GET /v1/models/{id}``: the models that the caller may use."""

from __future__ import annotations

import re
from urllib.parse import unquote

import orjson

from onwards_py.auth import Principal
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.routing.table import RouteTable

_LISTS = (b"/v1/models", b"/models", b"/v1/models/", b"/models/")
_ASKED_BY_CODEX = re.compile(rb"[?&]client_version=")


def answer_models(path: bytes, table: RouteTable, principal: Principal, created: int) -> bytes | None:
    """The JSON body; None if ``path`` (origin form) is another one. Raises ProxyError(MODEL_NOT_FOUND).

    ``created`` is in seconds of Unix time and the same in every answer. Ids may contain slashes.

    Codex (``?client_version=``) requires ``models`` beside ``data``, and rejects the list without it. An entry in
    ``models`` would need a prompt that replaces Codex's own, so ``models`` is empty, and Codex uses its own prompt.
    """
    path, _, query = path.partition(b"?")
    if path in _LISTS:
        listing = {"object": "list", "data": [_entry(name, created) for name in table.list_models(principal)]}
        if _ASKED_BY_CODEX.search(b"?" + query):
            listing["models"] = []
        return orjson.dumps(listing)
    for prefix in (b"/v1/models/", b"/models/"):
        if path.startswith(prefix):
            name = unquote(path[len(prefix) :].decode("latin-1"), encoding="utf-8")
            if name in table.list_models(principal):
                return orjson.dumps(_entry(name, created))
            message = f"The model `{name[:200]}` does not exist or you do not have access to it."
            raise ProxyError(ErrorKind.MODEL_NOT_FOUND, message, param="model")
    return None


def _entry(name: str, created: int) -> dict[str, object]:
    return {"id": name, "object": "model", "created": created, "owned_by": "onwards"}
