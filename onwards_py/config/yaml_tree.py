"""From text to a tree of nodes with positions.

YAML events (PyYAML's parser) are built into nodes here instead of into Python values, for four reasons: every node
keeps its position; duplicate keys are errors (PyYAML silently takes the last); scalars stay text, so that ``on``,
``no`` and ``1.10`` are converted only where a boolean or a number is expected; and aliases are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml
from msgspec import Struct

from onwards_py.config.diagnostics import HIDDEN, NOWHERE, Diagnostics, Path, Position, child_path
from onwards_py.config.secret_shapes import LONGEST_WORD

MAX_NODES = 5_000_000
MAX_ALIASED = 200_000
MAX_DEPTH = 40
_TOO_DEEP = f"nested more than {MAX_DEPTH} deep"
# Since 0.2.6 libyaml has its own limit (1,000), which it can reach while it reads ahead of the events.
_LIBYAML_TOO_DEEP = "exceeded maximum nesting depth"

# A tab between JSON tokens, which YAML does not allow; strings are skipped.
_JSON_TAB = re.compile(r'"(?:[^"\\]|\\.)*"|\t')
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# Text that PyYAML quotes may be part of a secret, unless it is the name of a token.
_QUOTED = re.compile(r"'([^']*)'")


class Scalar(Struct, frozen=True, gc=False):
    """Text. ``plain``: unquoted, so that it may be null, a number or a boolean."""

    position: Position
    text: str
    plain: bool

    def __repr__(self) -> str:
        """The position only; the text may be a secret."""
        return f"Scalar({self.position})"


class Entry(Struct, frozen=True, gc=False):
    """A key with its value; ``position`` is the key's."""

    position: Position
    key: str
    value: Node


class Mapping(Struct, frozen=True, gc=False):
    """Entries in the order of the file, each key once; merge keys (``<<``) are already merged."""

    position: Position
    entries: tuple[Entry, ...]


class Sequence(Struct, frozen=True, gc=False):
    position: Position
    items: tuple[Node, ...]


Node = Scalar | Mapping | Sequence


class _Unreadable(Exception):
    """Parsing cannot continue; ``message`` is the reason."""

    def __init__(self, position: Position, message: str) -> None:
        super().__init__(message)
        self.position = position
        self.message = message


def read(text: str, diagnostics: Diagnostics) -> Node | None:
    """The tree of a YAML or JSON text, or None after an error was reported."""
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        text = _JSON_TAB.sub(lambda match: " " if match[0] == "\t" else match[0], text)
    try:
        return _Builder(text, diagnostics).document()
    except _Unreadable as error:
        diagnostics.error(error.position, (), error.message)
    return None


class _Builder:
    def __init__(self, text: str, diagnostics: Diagnostics) -> None:
        self._events = _events(text)
        self._diagnostics = diagnostics
        self._anchors: dict[str, Node] = {}
        self._left = MAX_NODES
        self._left_aliased = MAX_ALIASED

    def document(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise _Unreadable(_at(event), "a second document begins; one file holds one configuration")
                root = self._node(next(self._events), (), 0)
        if root is None:
            self._diagnostics.error(NOWHERE, (), "the file is empty")
        return root

    def _node(self, event: yaml.Event, path: Path, depth: int) -> Node:
        position = _at(event)
        if depth > MAX_DEPTH:
            raise _Unreadable(position, _TOO_DEEP)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, position, depth)
        self._left -= 1
        if self._left < 0:
            raise _Unreadable(position, f"more than {MAX_NODES} values")
        if getattr(event, "tag", None) is not None:
            self._diagnostics.error(
                position, path, "tags (words that begin with '!') are not supported; quote the text"
            )
        node = self._content(event, position, path, depth)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _content(self, event: yaml.Event, position: Position, path: Path, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(position, self._text(event, position, path), not event.style)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(event, (*path, len(items)), depth + 1))
            return Sequence(position, tuple(items))
        assert isinstance(event, yaml.MappingStartEvent)
        return self._mapping(position, path, depth)

    def _mapping(self, position: Position, path: Path, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, path, depth + 1)
            if not isinstance(key, Scalar):
                self._diagnostics.error(key.position, path, "a key must be text")
                self._node(next(self._events), path, depth + 1)
                continue
            value = self._node(next(self._events), _inside(path, key.text), depth + 1)
            first = entries.get(key.text)
            if key.text == "<<" and key.plain:
                merged.append(value)
            elif first is not None:
                where = f"line {first.position.line}, column {first.position.column}"
                self._diagnostics.error(
                    key.position, child_path(path, key.text), f"this key was already given at {where}"
                )
            else:
                entries[key.text] = Entry(key.position, key.text, value)
        for node in merged:
            self._merge(entries, node, path)
        return Mapping(position, tuple(entries.values()))

    def _merge(self, entries: dict[str, Entry], node: Node, path: Path) -> None:
        """Add the keys that are not given yet: own keys win over merged ones, earlier merges over later ones."""
        for source in node.items if isinstance(node, Sequence) else (node,):
            if not isinstance(source, Mapping):
                self._diagnostics.error(source.position, (*path, "<<"), "only mappings can be merged")
                continue
            self._spend_aliased(len(source.entries), source.position)
            for entry in source.entries:
                entries.setdefault(entry.key, entry)

    def _alias(self, event: yaml.AliasEvent, position: Position, depth: int) -> Node:
        # An anchor is defined at the end of its node, so a node cannot contain itself.
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise _Unreadable(position, "an alias ('*') to an anchor ('&') that is not defined before it")
        if depth + _height(node) > MAX_DEPTH:
            raise _Unreadable(position, _TOO_DEEP)
        self._spend_aliased(_node_count(node), position)
        return node

    def _spend_aliased(self, nodes: int, position: Position) -> None:
        """Count the nodes that aliases repeat, against files that expand excessively."""
        self._left_aliased -= nodes
        if self._left_aliased < 0:
            raise _Unreadable(position, f"more than {MAX_ALIASED} values through aliases, counting each use")

    def _text(self, event: yaml.ScalarEvent, position: Position, path: Path) -> str:
        if event.value.isascii():
            return str(event.value)
        try:
            # JSON writes characters beyond the BMP as two escapes (RFC 8259 section 7).
            return str(event.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._diagnostics.error(position, path, "half of a surrogate pair is not a character")
            return ""


def _events(text: str) -> Iterator[yaml.Event]:
    # libyaml is twenty times as fast, but rejects half surrogate pairs, which JSON may contain.
    loader = yaml.SafeLoader if _SURROGATE.search(text) else getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.parse(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark)
        if _is_tab(text, place):
            raise _Unreadable(place, "not valid YAML: a tab is not allowed here; indent with spaces") from None
        raise _Unreadable(place, _reason(error)) from None
    except yaml.reader.ReaderError as error:
        # PyYAML counts characters, libyaml bytes.
        pure = loader is yaml.SafeLoader
        before = text[: error.position] if pure else text.encode()[: error.position].decode(errors="ignore")
        position = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise _Unreadable(position, "a control character is not allowed here") from None
    except (ValueError, OverflowError):
        raise _Unreadable(NOWHERE, "not valid YAML: an escape or a version number is out of range") from None


def _inside(path: Path, key: str) -> Path:
    """The path of the value of ``key``, for errors. The valid keys are not known here, so a long key is shown only
    where operators choose names of models."""
    return (*path, key) if len(key) <= LONGEST_WORD or path == ("targets",) else (*path, HIDDEN)


def _reason(error: yaml.MarkedYAMLError) -> str:
    if error.problem == _LIBYAML_TOO_DEEP:
        return _TOO_DEEP
    reason = _QUOTED.sub(
        lambda match: match[0] if len(match[1]) < 2 or match[1].startswith("<") else "…", error.problem or ""
    )
    begin = _place(error.context_mark)
    where = f" (line {begin.line}, column {begin.column})" if begin != NOWHERE else ""
    return f"not valid YAML: {reason}, {error.context}{where}" if error.context else f"not valid YAML: {reason}"


def _is_tab(text: str, place: Position) -> bool:
    """Whether parsing failed at a tab, which YAML does not allow as indentation."""
    lines = text.removeprefix("\ufeff").splitlines()
    if not 0 < place.line <= len(lines):
        return False
    return lines[place.line - 1][place.column - 1 : place.column] == "\t"


def _at(event: yaml.Event) -> Position:
    return _place(event.start_mark)


def _place(mark: yaml.Mark | yaml._yaml.Mark | None) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark is not None else NOWHERE


def _children(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Sequence):
        return node.items
    return tuple(entry.value for entry in node.entries) if isinstance(node, Mapping) else ()


def _node_count(node: Node) -> int:
    """The number of nodes; shared nodes count once per use."""
    return 1 + sum(map(_node_count, _children(node)))


def _height(node: Node) -> int:
    return 1 + max(map(_height, _children(node)), default=-1)
