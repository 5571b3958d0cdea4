"""How one provider's answers are translated: its quirks, the operator's policy, and what keeps a stream alive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from onwards_py.transcode.neutral.context import Sealer
from onwards_py.transcode.neutral.pipeline import KeepAlive
from onwards_py.transcode.neutral.policy import Policy
from onwards_py.transcode.neutral.quirks import Quirks


class SealerMaker(Protocol):
    """Where sealers come from."""

    def sealer(self, audience: str) -> Sealer:
        """What seals for ``audience``, and opens nothing that was sealed for another."""
        ...


@dataclass(frozen=True, slots=True)
class TranslateSettings:
    """``keepalive_interval`` is the silence, in seconds, after which an idle stream is given a sign of life.

    ``commit_after``: seconds after which a stream begins although the provider has said nothing yet; from then on no
    other provider can be tried. None: it begins with the provider's first words.
    ``keyring`` seals reasoning for clients to carry; None: no reasoning is sealed, and none is opened.
    """

    quirks: Quirks = field(default_factory=Quirks)
    policy: Policy = field(default_factory=Policy)
    keepalive: KeepAlive = KeepAlive.COMMENT
    keepalive_interval: float = 15.0
    commit_after: float | None = None
    keyring: SealerMaker | None = field(default=None, repr=False)


DEFAULTS = TranslateSettings()
