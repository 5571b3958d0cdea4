"""What the openai SDK's own models say of bodies and events, validated strictly."""

from __future__ import annotations

from functools import cache
from typing import Literal, get_args

import orjson
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, ValidationError

from support.responses_promises import Breach, Promise


@cache
def sdk_events() -> dict[str, type[BaseModel]]:
    """Event type -> the SDK's model of it."""
    union = get_args(ResponseStreamEvent)[0]
    found: dict[str, type[BaseModel]] = {}
    for model in get_args(union):
        kind = model.model_fields["type"].annotation
        assert kind is not None
        assert getattr(kind, "__origin__", None) is Literal
        found.update(dict.fromkeys(get_args(kind), model))
    return found


def sdk_breaches(event: dict[str, object], where: str) -> list[Breach]:
    """Where an event does not fit its model; an event that the SDK does not know is a breach of its own."""
    kind = event.get("type")
    model = sdk_events().get(kind) if isinstance(kind, str) else None
    if model is None:
        return [Breach(Promise.KNOWN_EVENTS, f"{where}: {kind!r} is unknown to the openai SDK")]
    return _against(model, event, where)


def sdk_response_breaches(body: dict[str, object], where: str) -> list[Breach]:
    """Where a response does not fit the SDK's ``Response``."""
    return _against(Response, body, where)


def _against(model: type[BaseModel], value: object, where: str) -> list[Breach]:
    try:
        model.model_validate_json(orjson.dumps(value), strict=True)
    except ValidationError as error:
        return [
            Breach(Promise.SDK_TYPES, f"{where}: /{'/'.join(map(str, each['loc']))}: {each['msg']}")
            for each in error.errors()[:4]
        ]
    return []
