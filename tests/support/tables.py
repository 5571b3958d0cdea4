"""Reading tables out of the documentation, so that tests can hold them against the code."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def table(document: str, first_column: str, section: str | None = None) -> list[list[str]]:
    """The rows of the table whose first heading is ``first_column``; cells without backticks.

    ``section`` is the heading above the table, if the document has several like it.
    """
    lines = (DOCS / document).read_text().splitlines()
    start = lines.index(section) if section is not None else 0
    for number, line in enumerate(lines[start:], start):
        if _cells(line)[:1] == [first_column] and lines[number + 1].startswith("|---"):
            return list(_rows(lines[number + 2 :]))
    raise AssertionError(f"{document} has no table that begins with {first_column}")


def _rows(lines: list[str]) -> list[list[str]]:
    rows: list[list[str]] = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(_cells(line))
    return rows


def _cells(line: str) -> list[str]:
    if not line.startswith("|"):
        return []
    return [cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|")]
