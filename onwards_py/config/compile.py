"""From the shape of a file to the snapshot: who serves which target, and who may ask for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from onwards_py.auth import Principal
from onwards_py.config.compile_keys import Keys
from onwards_py.config.compile_limits import compile_limits
from onwards_py.config.compile_provider import compile_provider
from onwards_py.config.compile_resilience import resilient
from onwards_py.config.compile_route_by import check_routes, compile_route_by
from onwards_py.config.compile_rules import check_rules, compile_rules, find_dead_ends
from onwards_py.config.inherit import Site, said, settle, under
from onwards_py.config.limit_schema import Limited
from onwards_py.config.problems import Path
from onwards_py.config.provider_schema import ProviderShape
from onwards_py.config.schema import (
    AdminShape,
    DefaultsShape,
    FileShape,
    HttpPoolShape,
    ListedShape,
    ServerShape,
    TargetShape,
)
from onwards_py.config.secrecy import looks_secret
from onwards_py.config.snapshot import AdminSettings, HttpPoolSettings, ServerSettings, Snapshot
from onwards_py.config.substitute import Surroundings
from onwards_py.model.policies import Strategy
from onwards_py.model.pool import Pool
from onwards_py.model.provider import Provider

# These bound a pool as a whole and are not handed down to its members.
_OF_THE_POOL = frozenset(Limited.__struct_fields__)
# What can be said beside route_by: who may use the target, and how much of it.
_OF_A_RULE = _OF_THE_POOL | {"route_by", "keys", "max_body", "routing_rules"}


def compile_file(file: FileShape, site: Site, around: Surroundings) -> Snapshot:
    """The snapshot; worthless if errors were noted on the way."""
    if file.strict_mode:
        site.warn(("strict_mode",), "has no effect: requests and responses are passed on as bytes, not validated")
    keys = Keys(file.auth, file.targets, site)
    defaults = settle(file.defaults or DefaultsShape(), ("defaults",), site)
    compiler = _Compiler(site, around, keys, defaults)
    pools = {name: compiler.target(name, shape) for name, shape in file.targets.items()}
    check_routes(pools, site)
    check_rules(file, keys.definitions.values(), site)
    find_dead_ends(pools, [Principal(*item) for item in keys.definitions.items()], site)
    if not pools:
        site.warn(("targets",), "is empty: every request is answered with 404")
    return Snapshot(
        pools=pools,
        key_definitions=keys.definitions,
        server=_server(file.server),
        admin=_admin(file.admin),
        http_pool=_http_pool(file.http_pool),
        max_body=max([pool.max_body for pool in pools.values()], default=Snapshot({}).max_body),
    )


def _server(shape: ServerShape | None) -> ServerSettings:
    return replace(ServerSettings(), host=None if shape is None else shape.host, **said(shape, leave="host"))


def _admin(shape: AdminShape | None) -> AdminSettings:
    return AdminSettings() if shape is None else AdminSettings(shape.host, tuple(shape.allowed_hosts or ()))


def _http_pool(shape: HttpPoolShape | None) -> HttpPoolSettings:
    settings = HttpPoolSettings()
    if shape is None:
        return settings
    idle = settings.idle_timeout if shape.idle_timeout_secs is None else float(shape.idle_timeout_secs)
    count = settings.max_idle_per_host if shape.max_idle_per_host is None else shape.max_idle_per_host
    return HttpPoolSettings(max_idle_per_host=count, idle_timeout=idle)


class _Compiler:
    def __init__(self, site: Site, around: Surroundings, keys: Keys, defaults: DefaultsShape) -> None:
        self._site = site
        self._around = around
        self._keys = keys
        self._defaults = defaults

    def target(self, name: str, shape: TargetShape | list[ListedShape]) -> Pool:
        path: Path = ("targets", name)
        if not name:
            self._site.error(path, "a target must have a name")
        if looks_secret(name):
            self._site.warn(path, "this name looks like a secret, and logs and metrics repeat it: choose another one")
        if isinstance(shape, list):
            return self._list(name, shape, path)
        target = under(settle(shape, path, self._site), self._defaults)
        if self._site.written((*path, "route_by")):
            return self._routed(name, target, path)
        if shape.providers is None and not self._site.written((*path, "providers")):
            return self._single(name, target, path)
        return self._pool(name, target, path)

    def _single(self, name: str, target: TargetShape, path: Path) -> Pool:
        """Limits of a single target bound its provider, as in Onwards."""
        values = {field: getattr(target, field) for field in ProviderShape.__struct_fields__}
        provider = compile_provider(ProviderShape(**values), path, self._site, self._around)
        return self._assemble(name, target, [provider], path, path)

    def _pool(self, name: str, target: TargetShape, path: Path) -> Pool:
        for field in ("url", "base_url", "local", "weight", "name"):
            if self._site.written((*path, field)):
                self._site.error((*path, field), "beside 'providers' this has no meaning; it belongs to a provider")
        members: list[Provider | None] = []
        for number, member in enumerate(target.providers or []):
            at = (*path, "providers", number)
            shape = under(settle(member, at, self._site), target, leave=_OF_THE_POOL)
            members.append(compile_provider(shape, at, self._site, self._around))
        pool = self._assemble(name, target, members, path, (*path, "providers"))
        return replace(pool, limits=compile_limits(target, path, self._site))

    def _routed(self, name: str, target: TargetShape, path: Path) -> Pool:
        for field in TargetShape.__struct_fields__:
            if field not in _OF_A_RULE and self._site.written((*path, field)):
                self._site.error((*path, field), "beside 'route_by' this has no meaning: another target answers")
        if target.route_by is not None and not target.route_by.labels:
            self._site.error((*path, "route_by", "labels"), "is empty, so that nothing but the default can be chosen")
        return replace(
            self._assemble(name, target, None, path, path),
            limits=compile_limits(target, path, self._site),
            route_by=None if target.route_by is None else compile_route_by(target.route_by),
        )

    def _list(self, name: str, entries: list[ListedShape], path: Path) -> Pool:
        members = []
        for number, entry in enumerate(entries):
            at = (*path, number)
            shape = under(settle(entry, at, self._site), self._defaults)
            members.append(compile_provider(shape, at, self._site, self._around))
            if number and entry.keys is not None:
                self._site.warn((*at, "keys"), "has no effect: the keys of the first entry are those of the target")
        keys = entries[0].keys if entries else None
        target = under(TargetShape(keys=keys), self._defaults)
        return self._assemble(name, target, members, path, path)

    def _assemble(
        self, name: str, target: TargetShape, members: Sequence[Provider | None] | None, path: Path, place: Path
    ) -> Pool:
        """The pool of ``members`` (None: it is to have none), which are written at ``place``."""
        providers = [member for member in members or () if member is not None]
        if members is None:
            pass
        elif not members:
            self._site.warn(place, "is empty: every request is answered with 503")
        elif len(providers) == len(members) and not any(provider.weight for provider in providers):
            self._site.error(place, "every weight is 0, so no provider can be chosen")
        defaults = Pool("", ())
        pool = Pool(
            name=name,
            providers=_distinct(providers),
            strategy=target.strategy or Strategy.WEIGHTED_RANDOM,
            keys=self._keys.accepted(name, target.keys, (*path, "keys")),
            max_body=defaults.max_body if target.max_body is None else int(target.max_body),
            rules=compile_rules(target.routing_rules),
        )
        return resilient(pool, target, path, self._site)


def _distinct(providers: Sequence[Provider]) -> tuple[Provider, ...]:
    """Names and identities made unique: two members that look the same are still counted apart, each by its own
    limits. What is learnt of the provider is learnt of both."""
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
                provider, identity=f"{identity}-{identities[identity]}", twin_of=identity
            )
        distinct.append(provider)
    return tuple(distinct)
