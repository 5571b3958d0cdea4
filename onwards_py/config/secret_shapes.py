"""Recognises text that looks like a secret, which messages must not show.

A key that was pasted one line too high stands where YAML has a name; messages with names go to terminals, CI logs
and ``/status``. Hiding a name by mistake costs little: the message has its line and column.
"""

from __future__ import annotations

import re
from itertools import pairwise

LONGEST_WORD = 40
"""Longest unknown word that messages show, in characters; all keys of the configuration are shorter."""

_LONGEST_NAME = 80
_SHORTEST_RUN = 16
_LONGEST_RUN = 25

# Prefixes of tokens of providers and code hosts (GitHub's secret scanning lists these and more).
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:sk|pk|rk|gsk|csk|sess|glpat|nvapi|github_pat|gh[opusr]|xox[abeoprs]|xapp|dapi)[-_][A-Za-z0-9._-]{3}"
    r"|(?:xai|hf|pplx|fw|tgp|r8|key|lsv2|tvly)[-_](?:[A-Za-z0-9]+[-_])?[A-Za-z0-9]{16}"
    r"|AIza[A-Za-z0-9_-]{8}|(?:AKIA|ASIA)[A-Z0-9]{8}|ya29\.|eyJ[A-Za-z0-9_-]{8}"
    r"|(?i:bearer|basic)[ :=]+\S"
    r"|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    r"|-----BEGIN"
    r")"
)
_USERINFO = re.compile(r"(?<![^/\s])[^/@\s:]*:[^/@\s]*@")
# Base64 with slashes, like AWS secrets. In paths and model names the words between slashes are regular.
_SLASHED_RUN = re.compile(r"[A-Za-z0-9+/=]{32,}")
_RUN = re.compile(rf"[A-Za-z0-9+=]{{{_SHORTEST_RUN},}}")


def looks_secret(text: str) -> bool:
    """Whether ``text`` looks like a secret, or is too long for a name."""
    return len(text) > _LONGEST_NAME or has_secret_shape(text)


def has_secret_shape(text: str) -> bool:
    """Whether ``text`` contains a token with a known prefix, a digest, a UUID, a URL with a password, or a run of
    characters that is too irregular for a word."""
    if _TOKEN.search(text) or _USERINFO.search(text):
        return True
    if any(map(_is_irregular, _RUN.findall(text))):
        return True
    return any(_changes(run) >= len(run) // 4 for run in _SLASHED_RUN.findall(text))


def _is_irregular(run: str) -> bool:
    if len(run) >= _LONGEST_RUN:
        return True
    return _changes(run) >= (len(run) // 4 if any(map(str.isdigit, run)) else len(run) // 3)


def _changes(run: str) -> int:
    """How often the class of characters changes: digits, capitals, others."""
    return sum(_class(one) != _class(other) for one, other in pairwise(run))


def _class(character: str) -> int:
    return 0 if character.isdigit() else 1 if character.isupper() else 2
