"""What several tests of the configuration need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256

import msgspec.inspect as mi

from onwards_py.config.diagnostics import ConfigError
from onwards_py.config.parse import LoadedConfig, parse
from onwards_py.config.schema import FileShape
from onwards_py.config.setting_shapes import struct_type
from onwards_py.model.pool import Pool
from onwards_py.model.provider import Provider


def _struct_types(kind: mi.Type, found: dict[type, mi.StructType]) -> dict[type, mi.StructType]:
    """``found`` and all mappings with known keys that ``kind`` can hold."""
    if isinstance(kind, mi.StructType):
        kind = struct_type(kind)
        if kind.cls not in found:
            found[kind.cls] = kind
            for field in kind.fields:
                _struct_types(field.type, found)
    elif isinstance(kind, mi.UnionType):
        for member in kind.types:
            _struct_types(member, found)
    else:
        for name in ("type", "item_type", "value_type"):
            if (inner := getattr(kind, name, None)) is not None:
                _struct_types(inner, found)
    return found


ALL_SHAPES = list(_struct_types(mi.type_info(FileShape), {}).values())
"""Every mapping of the file with its keys, those of groups of settings among them."""

NOTHING: Mapping[str, str] = {}


class AnyVariable(Mapping[str, str]):
    """An environment in which every variable is set, but for those of the machine (proxies)."""

    def __getitem__(self, name: str) -> str:
        if name.lower().endswith("_proxy"):
            raise KeyError(name)
        return f"value-of-{name}"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def loaded(text: str, env: Mapping[str, str] = NOTHING, filename: str = "f.yaml") -> LoadedConfig:
    return parse(text, filename, env)


def pool(text: str, env: Mapping[str, str] = NOTHING, name: str = "m") -> Pool:
    return loaded(text, env).snapshot.pools[name]


def provider(text: str, env: Mapping[str, str] = NOTHING) -> Provider:
    """The only provider of target ``m``."""
    (only,) = pool(text, env).providers
    return only


def errors(text: str, env: Mapping[str, str] = NOTHING) -> list[str]:
    """The lines of the ConfigError; empty if the text loads."""
    try:
        loaded(text, env)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def error(text: str, env: Mapping[str, str] = NOTHING) -> str:
    """The only error."""
    (only,) = errors(text, env)
    return only


def warnings(text: str, env: Mapping[str, str] = NOTHING) -> list[str]:
    return [str(warning) for warning in loaded(text, env).warnings]


def digest(token: str) -> bytes:
    """What the snapshot keeps of a key."""
    return sha256(token.encode()).digest()
