"""Ways to change a file."""

from __future__ import annotations

from pathlib import Path


def rename_over(path: Path, text: str) -> None:
    """Replace the file by another one of this text, as editors and careful programs do."""
    other = path.with_name("other")
    other.write_text(text)
    other.replace(path)
