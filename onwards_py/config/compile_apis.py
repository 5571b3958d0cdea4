"""``apis`` and the modes of single APIs, to the table of a provider."""

from __future__ import annotations

from onwards_py.config.diagnostics import Path
from onwards_py.config.inherit import Reporter
from onwards_py.config.provider_schema import ProviderShape
from onwards_py.model.apis import ALL_NATIVE, ApiTable
from onwards_py.wire.api import Api


def compile_apis(shape: ProviderShape, path: Path, reporter: Reporter) -> ApiTable:
    """The table. An API without a mode is native if the provider has it, else translated to one that it has; if that
    is not possible, it is rejected. Reports an error if a mode needs an API that is missing in ``apis``."""
    if shape.apis is not None and not shape.apis:
        reporter.error((*path, "apis"), "is empty: name at least one API, or leave it out")
        return ALL_NATIVE
    apis = frozenset(Api if shape.apis is None else shape.apis)
    responses_mode = None if shape.open_responses_mode is None else shape.open_responses_mode.value
    chat = _upstream(Api.CHAT_COMPLETIONS, shape.chat_completions_mode, Api.RESPONSES, apis)
    responses = _upstream(Api.RESPONSES, responses_mode, Api.CHAT_COMPLETIONS, apis)
    for key, mode, needed in (
        ("chat_completions_mode", shape.chat_completions_mode, chat),
        ("open_responses_mode", responses_mode, responses),
    ):
        if mode is not None and needed is not None and needed not in apis:
            place = (*path, key) if reporter.has_key((*path, key)) else (*path, "apis")
            reporter.error(
                place, f"'{key}: {mode}' contradicts 'apis': add {needed.value} to 'apis', or leave '{key}' out"
            )
    return ApiTable(chat, responses, Api.MESSAGES if Api.MESSAGES in apis else None)


def _upstream(api: Api, mode: str | None, other: Api, apis: frozenset[Api]) -> Api | None:
    """``other``: the API to which ``api`` can be translated."""
    if mode is None:
        if api in apis:
            return api
        return other if other in apis else None
    if mode == "disabled":
        return None
    return api if mode == "native" else other
