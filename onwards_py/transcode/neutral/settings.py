"""How one provider's answers are translated: its quirks, the operator's policy, and what keeps a stream alive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Protocol

from onwards_py.setting import Setting, ValueKind
from onwards_py.transcode.neutral.context import Sealer
from onwards_py.transcode.neutral.pipeline import KeepAlive
from onwards_py.transcode.neutral.policy import Policy
from onwards_py.transcode.neutral.quirks import Quirks


class SealerMaker(Protocol):
    """Makes sealers."""

    def sealer(self, audience: str) -> Sealer:
        """A sealer that opens only what was sealed for the same ``audience``."""
        ...


@dataclass(frozen=True, slots=True)
class TranslateSettings:
    """How one provider's answers are translated. Times are in seconds."""

    quirks: Quirks = field(default_factory=Quirks)
    policy: Policy = field(default_factory=Policy)
    keepalive: Annotated[KeepAlive, Setting("Keep-alive on idle streams: comment, event or off.")] = KeepAlive.COMMENT
    keepalive_interval: Annotated[float, Setting("Time without an event before a keep-alive.", ValueKind.TIMEOUT)] = (
        15.0
    )
    commit_after: Annotated[
        float | None,
        Setting(
            "Start a stream after this time even without content.", ValueKind.TIMEOUT, default="at the first content"
        ),
    ] = None
    """From this time on, no other provider can be tried."""
    keyring: SealerMaker | None = field(default=None, repr=False)
    """Encrypts reasoning that clients store; None: reasoning is neither encrypted nor decrypted."""


DEFAULTS = TranslateSettings()
