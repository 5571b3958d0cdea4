"""From a decoded file to the snapshot: the pool of each target, and the keys that it accepts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from onwards_py.auth import Principal
from onwards_py.config.compile_keys import KeyTable
from onwards_py.config.compile_limits import compile_limits
from onwards_py.config.compile_provider import compile_provider
from onwards_py.config.compile_resilience import with_resilience
from onwards_py.config.compile_route_by import check_routes
from onwards_py.config.compile_rules import check_rules, compile_rules, warn_about_dead_ends
from onwards_py.config.diagnostics import Path
from onwards_py.config.inherit import Reporter, inherit, resolve_aliases
from onwards_py.config.limit_schema import LimitsShape
from onwards_py.config.provider_schema import ProviderShape
from onwards_py.config.references import Env
from onwards_py.config.schema import DefaultsShape, FileShape, ListedShape, TargetShape
from onwards_py.config.secret_shapes import looks_secret
from onwards_py.config.setting_shapes import build, explicit, settings_of, shape_class
from onwards_py.model.pool import Pool
from onwards_py.model.provider import Provider
from onwards_py.model.snapshot import AdminSettings, HttpPoolSettings, ServerSettings, Snapshot

# These limit a pool as a whole; its providers do not inherit them.
_POOL_LIMITS = frozenset(LimitsShape.__struct_fields__)
# Keys that are allowed beside route_by: access to the target, and its limits.
_ALLOWED_BESIDE_ROUTE_BY = _POOL_LIMITS | {"route_by", "keys", "max_body", "routing_rules"}


def compile_file(file: FileShape, reporter: Reporter, env: Env) -> Snapshot:
    """The snapshot. It must not be used if errors were reported."""
    if file.strict_mode:
        reporter.warn(
            ("strict_mode",), "has no effect: requests and responses are forwarded as bytes and not validated"
        )
    keys = KeyTable(file.auth, file.targets, reporter)
    defaults = resolve_aliases(file.defaults or shape_class(DefaultsShape)(), ("defaults",), reporter)
    compiler = _Compiler(reporter, env, keys, defaults)
    pools = {name: compiler.target(name, shape) for name, shape in file.targets.items()}
    check_routes(pools, reporter)
    check_rules(file, keys.definitions.values(), reporter)
    warn_about_dead_ends(pools, [Principal(*item) for item in keys.definitions.items()], reporter)
    if not pools:
        reporter.warn(("targets",), "is empty: every request is answered with 404")
    return Snapshot(
        pools=pools,
        key_definitions=keys.definitions,
        server=build(file.server or settings_of(ServerSettings)),
        admin=build(file.admin or settings_of(AdminSettings)),
        http_pool=build(file.http_pool or settings_of(HttpPoolSettings)),
        max_body=max([pool.max_body for pool in pools.values()], default=Snapshot({}).max_body),
    )


class _Compiler:
    def __init__(self, reporter: Reporter, env: Env, keys: KeyTable, defaults: DefaultsShape) -> None:
        self._reporter = reporter
        self._env = env
        self._keys = keys
        self._defaults = defaults

    def target(self, name: str, shape: TargetShape | list[ListedShape]) -> Pool:
        path: Path = ("targets", name)
        if not name:
            self._reporter.error(path, "a target must have a name")
        if looks_secret(name):
            self._reporter.warn(path, "this name looks like a secret, and logs and metrics show it: choose another one")
        if isinstance(shape, list):
            return self._list(name, shape, path)
        target = inherit(resolve_aliases(shape, path, self._reporter), self._defaults)
        if self._reporter.has_key((*path, "route_by")):
            return self._routed(name, target, path)
        if shape.providers is None and not self._reporter.has_key((*path, "providers")):
            return self._single(name, target, path)
        return self._pool(name, target, path)

    def _single(self, name: str, target: TargetShape, path: Path) -> Pool:
        """A target with a single provider; its limits apply to that provider, as in Onwards."""
        shape = shape_class(ProviderShape)
        values = {field: getattr(target, field) for field in shape.__struct_fields__}
        provider = compile_provider(shape(**values), path, self._reporter, self._env)
        return self._assemble(name, target, [provider], path, path)

    def _pool(self, name: str, target: TargetShape, path: Path) -> Pool:
        for field in ("url", "base_url", "local", "weight", "name"):
            if self._reporter.has_key((*path, field)):
                self._reporter.error((*path, field), "is not allowed beside 'providers'; set it for a provider")
        members: list[Provider | None] = []
        for number, member in enumerate(target.providers or []):
            at = (*path, "providers", number)
            shape = inherit(resolve_aliases(member, at, self._reporter), target, leave=_POOL_LIMITS)
            members.append(compile_provider(shape, at, self._reporter, self._env))
        pool = self._assemble(name, target, members, path, (*path, "providers"))
        return replace(pool, limits=compile_limits(target, path, self._reporter))

    def _routed(self, name: str, target: TargetShape, path: Path) -> Pool:
        for field in shape_class(TargetShape).__struct_fields__:
            if field not in _ALLOWED_BESIDE_ROUTE_BY and self._reporter.has_key((*path, field)):
                self._reporter.error(
                    (*path, field), "is not allowed beside 'route_by': another target serves the requests"
                )
        if target.route_by is not None and not explicit(target.route_by)["labels"]:
            self._reporter.error((*path, "route_by", "labels"), "is empty, so only the default can be chosen")
        return replace(
            self._assemble(name, target, None, path, path),
            limits=compile_limits(target, path, self._reporter),
            route_by=None if target.route_by is None else build(target.route_by),
        )

    def _list(self, name: str, entries: list[ListedShape], path: Path) -> Pool:
        members = []
        for number, entry in enumerate(entries):
            at = (*path, number)
            shape = inherit(resolve_aliases(entry, at, self._reporter), self._defaults)
            members.append(compile_provider(shape, at, self._reporter, self._env))
            if number and entry.keys is not None:
                self._reporter.warn((*at, "keys"), "has no effect: the keys of the first entry are those of the target")
        keys = entries[0].keys if entries else None
        target = inherit(shape_class(TargetShape)(keys=keys), self._defaults)
        return self._assemble(name, target, members, path, path)

    def _assemble(
        self, name: str, target: TargetShape, members: Sequence[Provider | None] | None, path: Path, place: Path
    ) -> Pool:
        """The pool of ``members``, which are written at ``place``. None: a pool without providers, for ``route_by``."""
        providers = [member for member in members or () if member is not None]
        if members is None:
            pass
        elif not members:
            self._reporter.warn(place, "is empty: every request is answered with 503")
        elif len(providers) == len(members) and not any(provider.weight for provider in providers):
            self._reporter.error(place, "every weight is 0, so no provider can be chosen")
        pool = Pool(
            name=name,
            providers=_distinct(providers),
            keys=self._keys.accepted(name, target.keys, (*path, "keys")),
            rules=compile_rules(target.routing_rules),
            **explicit(target, Pool),
        )
        return with_resilience(pool, target, path, self._reporter)


def _distinct(providers: Sequence[Provider]) -> tuple[Provider, ...]:
    """The providers with unique names and identities.

    Equal providers are counted separately, each by its own limits; they share the health of the provider.
    """
    names: Counter[str] = Counter()
    identities: Counter[str] = Counter()
    distinct: list[Provider] = []
    taken = {provider.name for provider in providers}
    for provider in providers:
        name, identity = provider.name, provider.identity
        names[name] += 1
        identities[identity] += 1
        if names[name] > 1:
            while (numbered := f"{name}#{names[name]}") in taken:
                names[name] += 1
            taken.add(numbered)
            provider = replace(provider, name=numbered)  # noqa: PLW2901
        if identities[identity] > 1:
            provider = replace(  # noqa: PLW2901
                provider, identity=f"{identity}-{identities[identity]}", duplicate_of=identity
            )
        distinct.append(provider)
    return tuple(distinct)
