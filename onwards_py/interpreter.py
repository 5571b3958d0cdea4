"""Checks that the interpreter runs the program as it was tested: with assertions, and with parsers in C."""

from __future__ import annotations

import sys
from importlib import import_module

_COMPILED = {
    "httptools": "httptools.parser.parser",
    "aiohttp": "aiohttp._http_parser",
    "uvloop": "uvloop.loop",
}


def unsupported_reason() -> str | None:
    """Why this interpreter is not supported, and what to do about it. None: it is supported.

    Parsers in pure Python parse HTTP differently from llhttp.
    They accept requests that providers understand differently, and they were not tested or measured.
    """
    if not __debug__:
        return (
            f"Python leaves out assertions ({_optimisation()}), which this program was not tested without. "
            "Start it without -O, and without PYTHONOPTIMIZE in the environment."
        )
    for package, module in _COMPILED.items():
        try:
            import_module(module)
        except ImportError:
            return (
                f"the package {package} lacks its compiled part, and its parser in pure Python was not tested. "
                f"Install it from a wheel: pip install --force-reinstall --only-binary=:all: {package}"
            )
    if not _aiohttp_parses_in_c():
        return (
            "aiohttp is told to parse HTTP in pure Python, which was not tested. "
            "Start it without AIOHTTP_NO_EXTENSIONS in the environment (any value counts, 0 and false too)."
        )
    return None


def _optimisation() -> str:
    return f"-{'O' * sys.flags.optimize} or PYTHONOPTIMIZE={sys.flags.optimize}"


def _aiohttp_parses_in_c() -> bool:
    parser = import_module("aiohttp.http_parser")
    return parser.HttpRequestParser is not parser.HttpRequestParserPy
