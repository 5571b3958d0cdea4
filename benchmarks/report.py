"""Results as Markdown tables, and as plain data for ``--json``."""

from __future__ import annotations

import platform
import re
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks.rounds import Row

_BASES = ("nginx", "envoy", "against")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table with aligned columns, the first one to the left."""
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])


def cost_table(unit: str, rows: list[Row]) -> str:
    """Return the table of a unary or stream section, cheapest peer first."""
    by_name = {row.name: row for row in rows}
    bases = [by_name[name] for name in _BASES if name in by_name]
    head = ["peer", f"CPU µs/{unit}", "lowest–highest", *(f"× {base.name}" for base in bases)]
    head += ["p50 ms", "p99 ms", f"{unit}s/s", "RSS MB", "failed"]
    lines = []
    for row in sorted(rows, key=lambda row: row.cpu):
        spread = f"{min(row.cpu_us):.1f}–{max(row.cpu_us):.1f}"
        ratios = [f"{row.ratio_to(base):.2f}" for base in bases]
        figures = [f"{median(row.p50_ms):.2f}", f"{median(row.p99_ms):.2f}", f"{median(row.per_second):,.0f}"]
        rest = [f"{row.rss / 1e6:.0f}", str(row.failed)]
        lines.append([row.name, f"{row.cpu:.1f}", spread, *ratios, *figures, *rest])
    return table(head, lines)


def verdict(what: str, value: float, most: float) -> str:
    """Return one line: ``value`` beside the ``most`` that is allowed."""
    return f"{what}: {value:.2f}, at most {most:.2f}: {'holds' if value <= most else 'DOES NOT HOLD'}"


def plain(rows: list[Row]) -> list[dict[str, object]]:
    """Return the rows as JSON-ready data, the medians beside the rounds."""
    return [{**asdict(row), "cpu_us_median": row.cpu} for row in rows]


def machine() -> str:
    """Return one line: processor, cores, kernel, Python."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    cores = Path("/proc/cpuinfo").read_text().count("processor\t")
    name = cpu[1] if cpu else platform.machine()
    return f"{name}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}"
