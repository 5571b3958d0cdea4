"""The context window of a model, read from the header of its GGUF file.

Only the key-value pairs are read, up to the one that is needed; the format is that of ggml's ``docs/gguf.md``,
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
# Longer than all strings of real files; a damaged file must not be read completely.
_LONGEST_STRING = 16 * 1024 * 1024


def context_length(path: Path) -> int | None:
    """The context window in tokens; None if the file does not contain it. Raises `ValueError` for other files."""
    with path.open("rb") as file:
        if file.read(4) != _MAGIC or _number(file, "<I") not in _VERSIONS:
            raise ValueError("not a GGUF file of version 2 or 3")
        _number(file, "<Q")  # the number of tensors
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
