"""``include_obfuscation``: padding that keeps the sizes of streamed events from giving away the text.

Who sees an encrypted stream sees the length of each event, which for an event of one token is the token's. The
specification has a member for padding in the events with a ``delta`` and leaves its length open.
"""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.neutral.context import Ids

_LEAST = 16
_MOST = 256


def padding(event: Mapping[str, object], ids: Ids) -> str:
    """Padding for an event with a ``delta``, of letters and digits that cannot be guessed.

    The delta and its log probabilities take with the padding 16, 32, 64, 128 or any multiple of 256 bytes of JSON:
    tokens are alike, and long pieces do not become twice as long.
    """
    size = len(lenient_json.dumps(event["delta"])) - 2
    logprobs = event.get("logprobs")
    if logprobs:
        size += len(lenient_json.dumps(logprobs))
    room = _sizes(size) - size
    made = ""
    while len(made) < room:
        made += ids.new_id("")
    return made[:room]


def _sizes(size: int) -> int:
    """The next of the sizes that are told apart."""
    if size > _MOST:
        return size + -size % _MOST
    return max(_LEAST, 1 << max(size - 1, 0).bit_length())
