"""``${VAR}``, ``${VAR:-default}`` and ``${file:/path}`` inside the strings of a configuration.

References are replaced after parsing, so that the substituted text can never become structure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onwards_py.config.diagnostics import HIDDEN, printable
from onwards_py.config.secret_shapes import has_secret_shape
from onwards_py.config.source_files import SourceFiles, is_regular

MAX_FILE = 1024 * 1024

# "$${" stands for a literal "${".
_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Env:
    """The environment of references: variables, and the folder of relative paths.

    ``sources`` reads files and records their paths.
    """

    variables: Mapping[str, str]
    folder: Path
    sources: SourceFiles = field(default_factory=SourceFiles)

    def read_file(self, name: str) -> str:
        """The text of a regular file of at most `MAX_FILE` bytes. Raises ValueError with the reason."""
        path = self.folder / name
        named = HIDDEN if has_secret_shape(name) else repr(str(path))
        try:
            # Other files are not opened: a pipe could block, and a device may be endless.
            if not is_regular(path):
                self.sources.note_missing(path)
                raise ValueError(f"there is no file {named}")
            content = self.sources.read(path)
            if len(content) > MAX_FILE:
                raise ValueError(f"the file {named} is larger than {MAX_FILE} bytes")
            if not content.strip(b"\r\n"):
                # Another program is probably writing it; an empty value must not replace the secret.
                raise ValueError(f"the file {named} is empty")
            return content.decode()
        except OSError as error:
            raise ValueError(f"the file {named} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"the file {named} is not UTF-8 text") from None


def has_reference(text: str) -> bool:
    """Whether ``text`` contains a reference or an escaped one."""
    return "${" in text


def substitute(text: str, env: Env) -> str:
    """``text`` with every reference replaced. Raises ValueError naming the variable or file that is missing."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if not match[2]:
            raise ValueError("'${' without a closing '}'; write '$${' for a literal '${'")
        return _resolve(match[1], env)

    result = _REFERENCE.sub(replace, text)
    if any("\ud800" <= character <= "\udfff" for character in result):
        raise ValueError("the substituted text is not UTF-8")
    return result


def _resolve(reference: str, env: Env) -> str:
    if reference.startswith("file:"):
        # Editors end files with a line end, which is not part of a secret.
        return env.read_file(reference.removeprefix("file:")).removesuffix("\n").removesuffix("\r")
    name, separator, default = reference.partition(":-")
    if not _NAME.fullmatch(name):
        raise ValueError("the text in '${…}' is not a variable name; write '$${' for a literal '${'")
    value = env.variables.get(name)
    if separator:
        return value or default  # as in a shell, an empty variable counts as unset here
    if value is None:
        raise ValueError(f"the environment variable {printable(name)} is not set")
    return value
