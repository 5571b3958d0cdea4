"""The small endpoints: models, files, audio. Their objects are valid, but nothing is stored."""

from __future__ import annotations

import orjson

from onwards_py.transports.echo.answers import CompleteAnswer, EchoRequest
from onwards_py.transports.echo.params import JsonObject


def models(ask: EchoRequest) -> CompleteAnswer:
    """GET /models: the requested model only."""
    return CompleteAnswer(orjson.dumps({"object": "list", "data": [_model(ask)]}))


def model(ask: EchoRequest) -> CompleteAnswer:
    """GET /models/{id}: any id exists."""
    return CompleteAnswer(orjson.dumps(_model(ask)))


def file(ask: EchoRequest) -> CompleteAnswer:
    """POST /files: a file object. ``bytes`` is the size of the request body, form framing included."""
    document: JsonObject = {
        "id": ask.new_id("file-echo-"),
        "object": "file",
        "bytes": len(ask.body),
        "created_at": int(ask.now()),
        "filename": "upload",
        "purpose": "user_data",
        "status": "processed",
    }
    return CompleteAnswer(orjson.dumps(document))


def transcription(ask: EchoRequest) -> CompleteAnswer:
    """POST /audio/transcriptions and /audio/translations: the configured text, or a fixed one."""
    return CompleteAnswer(orjson.dumps({"text": "echo" if ask.text is None else ask.text}))


def _model(ask: EchoRequest) -> JsonObject:
    return {"id": ask.model or "echo", "object": "model", "created": int(ask.now()), "owned_by": "echo"}
