"""``include_obfuscation``: padding, so that the sizes of streamed events do not reveal the text.

An observer of an encrypted stream can measure the length of each event, which reveals the length of each token. The
specification defines a member for padding in events with a ``delta``, but not its length.
"""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.neutral.context import Ids

_LEAST = 16
_MOST = 256


def padding(event: Mapping[str, object], ids: Ids) -> str:
    """Padding for an event with a ``delta``, of letters and digits that cannot be guessed.

    The delta, its log probabilities and the padding have 16, 32, 64, 128 or a multiple of 256 bytes of JSON in all. So
    most tokens have the same size, and long pieces do not double in size.
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
    """The smallest of these sizes that is at least ``size``."""
    if size > _MOST:
        return size + -size % _MOST
    return max(_LEAST, 1 << max(size - 1, 0).bit_length())
