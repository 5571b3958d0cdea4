"""The window that a GGUF file's model was trained for, read from the head of the file.

Only the key-value pairs are walked, up to the one that is wanted; the format is that of ggml's ``docs/gguf.md``,
versions 2 and 3.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UNSIGNED = {0: "<B", 2: "<H", 4: "<I", 10: "<Q"}
_STRING, _ARRAY = 8, 9
# No key and no element of a list in a real file comes near; a damaged file must not make us read all of it.
_LONGEST_STRING = 16 * 1024 * 1024


def context_length(path: Path) -> int | None:
    """The model's own window in tokens; None if the file does not say. Raises `ValueError` for what is no GGUF file."""
    with path.open("rb") as file:
        if file.read(4) != _MAGIC or _number(file, "<I") not in _VERSIONS:
            raise ValueError("not a GGUF file of version 2 or 3")
        _number(file, "<Q")  # how many tensors there are
        for _ in range(_number(file, "<Q")):
            key = _string(file)
            kind = _number(file, "<I")
            if key.endswith(b".context_length") and kind in _UNSIGNED:
                return _number(file, _UNSIGNED[kind])
            _skip(file, kind)
    return None


def _number(file: BinaryIO, form: str) -> int:
    raw = file.read(struct.calcsize(form))
    try:
        return int(struct.unpack(form, raw)[0])
    except struct.error:
        raise ValueError("the GGUF file ends in its header") from None


def _string(file: BinaryIO) -> bytes:
    length = _number(file, "<Q")
    if length > _LONGEST_STRING:
        raise ValueError("the GGUF file's header is damaged")
    return file.read(length)


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        _string(file)
    elif kind == _ARRAY:
        element, count = _number(file, "<I"), _number(file, "<Q")
        if element in _SIZES:
            file.seek(_SIZES[element] * count, 1)
            return
        for _ in range(count):
            _skip(file, element)
    elif kind in _SIZES:
        file.seek(_SIZES[kind], 1)
    else:
        raise ValueError("the GGUF file's header is damaged")
