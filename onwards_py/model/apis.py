"""Which API a provider is asked by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, assert_never

from onwards_py.wire.api import Api


@dataclass(frozen=True, slots=True)
class ApiTable:
    """For each API that a client can use, the API by which the provider is asked.

    The same one: bytes pass (native). Another one: requests and answers are translated. None: the API is refused.
    """

    chat_completions: Api | None = Api.CHAT_COMPLETIONS
    responses: Api | None = Api.RESPONSES
    messages: Api | None = Api.MESSAGES
    all_native: bool = field(init=False)
    """All bytes pass, so the API of a request need not be known."""
    translates: bool = field(init=False)
    """At least one API is translated."""

    def __post_init__(self) -> None:
        foreign = [self.upstream(api) for api in Api if self.upstream(api) is not api]
        object.__setattr__(self, "all_native", not foreign)
        object.__setattr__(self, "translates", any(upstream is not None for upstream in foreign))

    def upstream(self, api: Api) -> Api | None:
        """The API by which the provider is asked, for a request in ``api``."""
        if api is Api.CHAT_COMPLETIONS:
            return self.chat_completions
        if api is Api.RESPONSES:
            return self.responses
        if api is Api.MESSAGES:
            return self.messages
        assert_never(api)

    def mode(self, api: Api) -> str:
        """What becomes of requests in ``api``, as configuration files call it: native, translate or disabled."""
        upstream = self.upstream(api)
        if upstream is None:
            return "disabled"
        return "native" if upstream is api else "translate"


ALL_NATIVE: Final = ApiTable()
