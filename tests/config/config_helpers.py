"""What several tests of the configuration need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onwards_py.config.diagnostics import ConfigError
from onwards_py.config.parse import Loaded, parse
from onwards_py.config.provider_schema import Shape
from onwards_py.model.pool import Pool
from onwards_py.model.provider import Provider


def _below(shape: type[Shape]) -> list[type[Shape]]:
    return [found for below in shape.__subclasses__() for found in (below, *_below(below))]


ALL_SHAPES = _below(Shape)

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


def loaded(text: str, env: Mapping[str, str] = NOTHING, filename: str = "f.yaml") -> Loaded:
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
