"""Any other proxy, named on the command line: ``--peer NAME=COMMAND``."""

from __future__ import annotations

import shlex
import shutil

from benchmarks.peers import Peer, PeerMissing, Place


def named(definition: str) -> Peer:
    """Return the peer of ``NAME=COMMAND``; {port}, {admin_port}, {upstream_port} and {directory} are filled in.

    Raises ValueError if there is no name or no command.
    """
    name, _, template = definition.partition("=")
    words = shlex.split(template)
    if not name or not words:
        raise ValueError(f"--peer wants NAME=COMMAND, not {definition!r}")

    def command(place: Place) -> list[str]:
        if shutil.which(words[0]) is None:
            raise PeerMissing(f"{words[0]} is not installed")
        values = {
            "port": str(place.port),
            "admin_port": str(place.admin_port),
            "upstream_port": str(place.upstream_port),
            "directory": str(place.directory),
        }
        return [_filled(word, values) for word in words]

    return Peer(name, command, lambda: template)


def _filled(word: str, values: dict[str, str]) -> str:
    """Replace only our placeholders: JSON in a command keeps its braces."""
    for key, value in values.items():
        word = word.replace("{" + key + "}", value)
    return word
