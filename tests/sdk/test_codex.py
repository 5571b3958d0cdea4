"""The Codex CLI, the real binary, against the running program, whose provider only has Chat Completions.

It works in a home and a folder of its own. Its updates, plugins and statistics are off, and what else it would fetch
goes to a port where nobody listens. What its model says is scripted, answer by answer.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.chat_model import Chat, ChatModel, playing, reply
from support.node import MODULES, needed, start
from support.program import Program, serving, wait_until

PACKAGE = "@openai/codex"
PATCH = "*** Begin Patch\n*** Update File: a.txt\n@@\n-hi\n+hello\n*** End Patch"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# gpt-5.5 and gpt-6-sol are built into Codex, each with tools of its own; it has never heard of the others.
TARGETS = ("coder", "gpt-5.5", "gpt-6-sol")

CONFIG = """
model_provider = "onwards"
check_for_update_on_startup = false
approval_policy = "never"
sandbox_mode = "danger-full-access"

[analytics]
enabled = false

[features]
plugins = false
apps = false

[model_providers.onwards]
name = "onwards"
base_url = "{url}/v1"
wire_api = "responses"
supports_websockets = {websockets}
request_max_retries = 0
stream_max_retries = 0
"""


class Script:
    """What the model says next; when the script is at its end, it repeats what it hears."""

    def __init__(self) -> None:
        self.messages: list[Chat] = []

    def play(self, chat: Chat) -> Chat:
        return self.messages.pop(0) if self.messages else reply(chat)


def calls(name: str, **arguments: object) -> Chat:
    """The model thinks, and calls one function."""
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return {"role": "assistant", "content": None, "reasoning_content": "Let me see.", "tool_calls": [call]}


def says(text: str) -> Chat:
    return {"role": "assistant", "content": text}


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def coder(script: Script) -> Iterator[ChatModel]:
    needed(PACKAGE)
    with playing(script.play) as model:
        yield model


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "aiohttp"])
def program(
    request: pytest.FixtureRequest, coder: ChatModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    where = f"url: '{coder.url}', open_responses_mode: translate"
    known = "\n".join(
        f"  {name}: {{{where}, preset: vllm, translate: {{reasoning_keys: [a-secret-of-16-bytes]}}}}"
        for name in TARGETS
    )
    config = f"targets:\n{known}\n  cut: {{{where}}}\n  fails: {{{where}, onwards_model: '429'}}\n"
    with serving(config, tmp_path_factory.mktemp("codex"), lane=request.param) as program:
        yield program
        assert program.stop() == 0
        assert "Traceback" not in program.stderr


class Codex:
    """One home and one folder; ``said`` are the messages of the model that is to answer."""

    def __init__(self, program: Program, model: ChatModel, script: Script, folder: Path) -> None:
        self.folder = folder / "work"
        self.asked: list[Chat] = []
        self._home = folder / "home"
        self._program = program
        self._model = model
        self._script = script
        for made in (self.folder, self._home):
            made.mkdir()
        self.configure()

    def configure(self, websockets: bool = False) -> None:
        text = CONFIG.format(url=self._program.url, websockets=str(websockets).lower())
        (self._home / "config.toml").write_text(text)

    def run(self, target: str, *arguments: str, said: tuple[Chat, ...] = ()) -> list[dict[str, Any]]:
        """``codex exec``: its events; the exit code is held against them."""
        before = len(self._model.asked)
        self._script.messages[:] = said
        done = self._start("exec", "--json", "--strict-config", "--skip-git-repo-check", "-m", target, *arguments)
        self.asked = self._model.asked[before:]
        events = [json.loads(line) for line in done.stdout.splitlines()]
        failed = any(event["type"] == "turn.failed" for event in events)
        assert done.returncode == (1 if failed else 0), done.stderr
        return events

    def _start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        home = str(self._home)
        dead = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
        env = {"HOME": home, "CODEX_HOME": home, "PATH": os.environ["PATH"], **dead}
        done = start(MODULES / PACKAGE / "bin" / "codex.js", arguments, self.folder, env)
        if "Missing optional dependency" in done.stderr:
            pytest.skip("there is no binary of Codex for this machine")
        return done


@pytest.fixture
def codex(program: Program, coder: ChatModel, script: Script, tmp_path: Path) -> Codex:
    return Codex(program, coder, script, tmp_path)


def items(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The completed items of one kind."""
    return [event["item"] for event in events if event["type"] == "item.completed" and event["item"]["type"] == kind]


def answer(events: list[dict[str, Any]]) -> str:
    """The last thing said, of a turn that ended well."""
    assert events[-1]["type"] == "turn.completed", events
    return str(items(events, "agent_message")[-1]["text"])


def test_codex_runs_a_command(codex: Codex) -> None:
    """A call, its output and the answer; usage is summed up over both requests."""
    events = codex.run("coder", "make a file", said=(calls("exec_command", cmd="echo hi | tee a.txt"), says("Made.")))
    assert answer(events) == "Made."
    assert [(item["aggregated_output"], item["exit_code"]) for item in items(events, "command_execution")] == [
        ("hi\n", 0)
    ]
    assert (codex.folder / "a.txt").read_text() == "hi\n"
    assert [item["text"] for item in items(events, "reasoning")] == ["Let me see."]
    usage = events[-1]["usage"]
    assert (usage["input_tokens"], usage["cached_input_tokens"], usage["output_tokens"]) == (22, 6, 14)
    told = codex.asked[1]["messages"][-2:]
    assert told[0]["reasoning"] == "Let me see."
    assert told[1]["content"].endswith("hi\n")


def test_codex_applies_a_patch(codex: Codex) -> None:
    """A custom tool, which is a function for the provider, and free text again for Codex."""
    (codex.folder / "a.txt").write_text("hi\n")
    events = codex.run("gpt-5.5", "change it", said=(calls("apply_patch", input=PATCH), says("Changed.")))
    assert answer(events) == "Changed."
    assert [item["status"] for item in items(events, "file_change")] == ["completed"]
    assert (codex.folder / "a.txt").read_text() == "hello\n"
    assert json.loads(codex.asked[1]["messages"][-2]["tool_calls"][0]["function"]["arguments"]) == {"input": PATCH}


def test_codex_runs_its_code_mode(codex: Codex) -> None:
    """Tools come as an item of the input, in namespaces; the script of one calls further tools."""
    source = 'const made = await tools.exec_command({cmd: "echo hi | tee a.txt"}); text(made.output);'
    said = (calls("functions__exec", input=source), calls("clock__sleep", duration_ms=1), says("Slept."))
    events = codex.run("gpt-6-sol", "make a file, and rest", said=said)
    assert answer(events) == "Slept."
    assert (codex.folder / "a.txt").read_text() == "hi\n"
    outputs = [message["content"] for message in codex.asked[-1]["messages"] if message["role"] == "tool"]
    assert outputs[0].endswith("hi\n")
    assert "unsupported" not in outputs[1]
    assert len(outputs) == 2


def test_codex_goes_on_over_http_where_its_websocket_is_refused(codex: Codex, program: Program) -> None:
    """One attempt, 426, and the turn is as good as any."""
    codex.configure(websockets=True)
    assert answer(codex.run("gpt-5.5", "hello", said=(says("Hello."),))) == "Hello."
    wait_until(lambda: program.stdout.count('"websocket_not_supported"') == 1, "the refusal in the access log")


def test_codex_resumes_a_session(codex: Codex) -> None:
    """All earlier items go to the provider again, in their order."""
    codex.run("coder", "first", said=(calls("exec_command", cmd="true"), says("One.")))
    events = codex.run("coder", "resume", "--last", "second", said=(says("Two."),))
    assert answer(events) == "Two."
    roles = [message["role"] for message in codex.asked[-1]["messages"]]
    assert roles[-5:] == ["user", "assistant", "tool", "assistant", "user"]
    assert codex.asked[-1]["messages"][-2]["content"] == "One."


def test_codex_compacts_its_history(codex: Codex) -> None:
    """It asks for a summary in the middle of a turn, without tools, and goes on from there."""
    said = (calls("exec_command", cmd="echo hi"), says("A summary."), says("Done."))
    events = codex.run("coder", "say hi", "-c", "model_auto_compact_token_limit=10", said=said)
    assert answer(events) == "Done."
    assert ["tools" in chat for chat in codex.asked] == [True, False, True]
    roles = [message["role"] for message in codex.asked[2]["messages"]]
    assert set(roles) == {"system", "user"}
    assert codex.asked[2]["messages"][-1]["content"].endswith("A summary.")


def test_codex_asks_for_a_schema(codex: Codex, tmp_path: Path) -> None:
    """``--output-schema`` reaches the provider as its response format."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema))
    events = codex.run("coder", "where", "--output-schema", str(path), said=(says('{"city": "Ulm"}'),))
    assert json.loads(answer(events)) == {"city": "Ulm"}
    asked = codex.asked[-1]["response_format"]["json_schema"]
    assert (asked["schema"], asked["strict"]) == (schema, True)


def test_codex_shows_an_image(codex: Codex, tmp_path: Path) -> None:
    """It reaches the provider as a data URL."""
    path = tmp_path / "pixel.png"
    path.write_bytes(base64.b64decode(PIXEL))
    assert answer(codex.run("gpt-5.5", "look", "--image", str(path), said=(says("A pixel."),))) == "A pixel."
    parts = [part for message in codex.asked[-1]["messages"] for part in message["content"] if isinstance(part, dict)]
    assert [part["image_url"]["url"][:22] for part in parts if part["type"] == "image_url"] == [
        "data:image/png;base64,"
    ]


@pytest.mark.parametrize(
    ("target", "why"),
    [("fails", "429 Too Many Requests"), ("cut", "connection to the provider broke"), ("nobody", "does not exist")],
)
def test_codex_never_takes_a_failure_for_an_answer(codex: Codex, target: str, why: str) -> None:
    """A limit, a cut stream, a model that is not there: the turn fails, and says why."""
    events = codex.run(target, "hello there")
    assert events[-1]["type"] == "turn.failed"
    assert why in events[-1]["error"]["message"]
