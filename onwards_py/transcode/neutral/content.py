"""Content of turns: a string, or a list of parts in the form of Chat Completions."""

from __future__ import annotations

Part = dict[str, object]
"""One content part: ``{"type": "text", "text": ...}``, ``image_url``, ``file``, ``input_audio``, ``video_url``."""

Content = str | list[Part]
