"""The schema that a client expects: by an explicit header, or else by the header fields of its library."""

from __future__ import annotations

from onwards_py.messages import Fields
from onwards_py.transcode.neutral.context import Profile

HEADER = b"x-onwards-profile"
_OPENAI_MARKS = (b"x-stainless-lang", b"x-codex-turn-metadata")
_OPENAI_AGENTS = (b"openai/", b"asyncopenai/", b"azureopenai/", b"asyncazureopenai/", b"codex", b"ai-sdk/openai/")


def is_codex(fields: Fields) -> bool:
    """Whether the header fields are those of Codex."""
    return any(
        (name.lower() in (b"user-agent", b"originator") and value.lower().startswith(b"codex"))
        or name.lower() == b"x-codex-turn-metadata"
        for name, value in fields
    )


def profile_of_client(fields: Fields) -> Profile | None:
    """The profile that the request's header fields ask for, or that the client's library needs; None if unknown.

    The override header takes precedence; an unknown value of it is ignored. OpenAI's libraries, and Codex, which is
    built for OpenAI's own endpoint, are recognised by their fields and by the beginning of their user agent.
    """
    found: Profile | None = None
    for name, value in fields:
        lower = name.lower()
        if lower == HEADER:
            asked = value.strip().lower()
            for profile in Profile:
                if profile.value.encode() == asked:
                    return profile
        elif lower in _OPENAI_MARKS or (lower == b"user-agent" and value.lower().startswith(_OPENAI_AGENTS)):
            found = Profile.OPENAI
    return found
