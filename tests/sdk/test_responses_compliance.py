"""Judges of the Open Responses specification against the running program, whose provider only has Chat Completions.

The provider plays a model by fixed rules (`support.chat_model`): the suites judge the translation, not a model's wits.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from openresponses import OpenResponses, ResponseResource, ResponseStream
from support.program import Program


def test_llm_comply_passes_whole(translating: Program) -> None:
    """All 13 of its tests, none skipped: by the model's name it sees that it may ask for reasoning.

    ``/responses/compact`` it asks for advice only: the 404 of a proxy that has none is among what it expects. It knows
    no ``response.reasoning_summary_text.*`` (the specification does), and asks for no reasoning in streams.
    """
    command = [sys.executable, "-m", "llm_comply.cli", "--base-url", translating.url + "/v1", "--api-key", "sk"]
    command += ["--model", "deepseek-r", "--json", "--timeout", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    report = json.loads(done.stdout)
    failed = [(test["id"], test["errors"]) for test in report["results"] if test["status"] != "passed"]
    assert failed == []
    assert len(report["results"]) == 13
    assert done.returncode == 0


TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": None,
    "parameters": {"type": "object"},
    "strict": None,
}


@pytest.mark.parametrize("said", ["hello", "think", "weather"])
def test_the_strict_client_reads_whole_answers(translating: Program, said: str) -> None:
    """openresponses-py validates every body against the specification's models."""
    client = OpenResponses(api_key="sk", base_url=translating.url + "/v1")
    answer = client.responses.create({"model": "m", "input": said, "tools": [TOOL]})
    assert isinstance(answer, ResponseResource)
    assert answer.status == "completed"


@pytest.mark.parametrize("said", ["hello", "think", "weather"])
def test_the_strict_client_reads_streams(translating: Program, said: str) -> None:
    """And every event, its framing, its number, and the end mark."""
    client = OpenResponses(api_key="sk", base_url=translating.url + "/v1")
    stream = client.responses.create({"model": "m", "input": said, "tools": [TOOL], "stream": True})
    assert isinstance(stream, ResponseStream)
    with stream:
        events = list(stream)
        final = stream.final_response
    assert len(events) > 5
    assert isinstance(final, ResponseResource)
    assert final.status == "completed"
