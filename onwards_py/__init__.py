"""onwards_py: a transparent, byte-level reverse proxy for LLM APIs."""

__version__ = "0.1.0"
