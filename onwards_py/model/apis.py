"""The API in which requests are sent to a provider."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, assert_never

from onwards_py.wire.api import Api


@dataclass(frozen=True, slots=True)
class ApiTable:
    """For each API that a client can use, the API in which its requests are sent to the provider.

    The same API: bytes are forwarded (native). Another one: requests and answers are translated. None: the API is
    rejected.
    """

    chat_completions: Api | None = Api.CHAT_COMPLETIONS
    responses: Api | None = Api.RESPONSES
    messages: Api | None = Api.MESSAGES
    all_native: bool = field(init=False)
    """All APIs are native, so the API of a request need not be known."""
    translates: bool = field(init=False)
    """At least one API is translated."""

    def __post_init__(self) -> None:
        foreign = [self.upstream(api) for api in Api if self.upstream(api) is not api]
        object.__setattr__(self, "all_native", not foreign)
        object.__setattr__(self, "translates", any(upstream is not None for upstream in foreign))

    def upstream(self, api: Api) -> Api | None:
        """The API in which a request in ``api`` is sent to the provider."""
        if api is Api.CHAT_COMPLETIONS:
            return self.chat_completions
        if api is Api.RESPONSES:
            return self.responses
        if api is Api.MESSAGES:
            return self.messages
        assert_never(api)

    def mode(self, api: Api) -> str:
        """The mode of ``api``, in the words of configuration files: native, translate or disabled."""
        upstream = self.upstream(api)
        if upstream is None:
            return "disabled"
        return "native" if upstream is api else "translate"


ALL_NATIVE: Final = ApiTable()
