"""Names and phrases that were replaced by the terms of RFCs, Envoy, nginx and the OpenAI API do not come back.

A name is looked for where a class, function, parameter, field or module is called so, not in comments: many of them are
ordinary English words. Sentences are looked for in documents, docstrings and comments.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "onwards_py"

MODULES = {
    "leading": "route_by",
    "attempts": "retry",
    "prepared": "attempt",
    "kept": "attempt_result",
    "verdicts": "outlier_detection",
    "hold": "first_content_gate",
    "release": "delayed_close",
    "coded_answer": "decode_response",
    "early_stream": "early_commit",
    "collected_answer": "response_buffer",
    "queueing": "admission_queue",
    "addressing": "model_lookup",
    "said": "item_tracker",
    "telling": "event_reader",
    "segments": "item_queue",
    "foreign_json": "lenient_json",
    "line": "wait_queue",
    "alarm": "deadline_timer",
    "head_memory": "head_cache",
}
"""Name that a module had, and the term for its idea. Many are good names for something else."""
REPLACED: dict[str, dict[str, str]] = {
    "proxy": {
        "Ask": "RoutedRequest",
        "Prepared": "Attempt",
        "Kept": "BufferedResponse",
        "Sendable": "LastResponse",
        "Failed": "AttemptFailed",
        "Gate": "CommitGate",
        "Place": "QueueTicket",
        "Won": "HedgeWinner",
        "Undo": "DecodeFilter",
        "Collector": "ResponseBuffer",
        "AnsweredHere": "LocalReply",
        "Made": "ClientResponse",
        "serve_sole": "serve_single",
        "_take": "acquire_provider",
        "_passes_over": "retry_handshake",
        "_set_aside": "exclude",
        "_is_worth_having": "hedge_wins",
        "_nobody": "no_provider_error",
        "may_be_resent": "safe_to_duplicate",
        "may_repeat": "retry_after_send",
        "accept": "validate_response",
        "keep": "drain_body",
        "delivered": "try_send_now",
        "_lead_on": "route_by_classifier",
        "_inquire": "subrequest",
        "led_to": "retarget",
        "located": "with_model_span",
        "enter": "acquire",
        "pass_through": "try_acquire",
        "unspend": "refund",
        "give_back_to": "release_beyond",
        "conclude": "finish",
        "told": "record_failure",
    },
    "observe": {
        "sink": "downstream",
        "held": "permits",
        "choosing": "route_by_seconds",
        "tail": "usage_scanner",
        "extra": "extra_headers",
        "seal": "finalize",
    },
    "routing limits model live_state": {
        "Member": "Endpoint",
        "Leads": "ClassifierRoute",
        "IN": "HEALTHY",
        "RESTING": "RATE_LIMITED",
        "DOWN": "UNHEALTHY",
        "rest": "backoff",
        "rests": "note_retry_after",
        "chosen": "try_probe",
        "at_ease": "fast_path",
        "choose_at_ease": "fast_path",
        "sole": "single",
        "visible": "list_models",
        "attempt": "try_acquire",
        "Blocked": "Rejection",
        "Line": "WaitQueue",
        "settle": "charge",
        "conduct": "describe_resilience",
    },
    "doors transports engines": {
        "Intake": "RequestParser",
        "Pending": "QueuedRequest",
        "recognise": "match",
        "leave_http": "upgrade",
        "_answered": "on_handler_done",
        "Drive": "StepTask",
        "Signal": "OneShot",
        "whole": "complete_body",
        "Died": "ClosedBeforeResponse",
        "_spoiled": "must_close",
        "_lasting": "reusable",
        "shake_hands": "handshake",
        "Loops": "LoopDetector",
        "fallen": "exited",
        "doomed": "terminating",
        "undecided": "starting",
        "Retelling": "ChunkRewriter",
        "confine": "resource_limits",
    },
    "eager": {"Drive": "StepTask", "Signal": "OneShot"},
    "wire": {
        "Opening": "FirstContentDetector",
        "coded_copy": "decoding_tap",
        "tells_events": "is_readable_sse",
        "blind": "undecodable",
        "_says_something": "has_content",
        "_refuse_climbing": "reject_dot_dot",
    },
    "transcode": {
        "said": "item_tracker",
        "Voice": "TextAccumulator",
        "telling": "event_reader",
        "Teller": "event_reader",
        "spoke": "emitted",
        "silent": "empty",
        "segments": "item_queue",
        "marks_end": "ends_with_done",
        "_proof": "finish_is_final",
        "failed_early": "failed_before_output",
        "judge": "resolve_ending",
        "stand_in": "placeholder",
        "Offer": "ToolSet",
        "Scope": "TranslationContext",
        "Refused": "InvalidRequest",
        "foreign_json": "lenient_json",
        "foreign_fields": "provider_headers",
        "put_right": "repair",
        "dialect": "api or preset",
        "dialects": "chat and responses",
    },
    "config": {
        "said": "explicit",
        "settle": "resolve_aliases",
        "Site": "Reporter",
        "Surroundings": "Env",
        "Notes": "Diagnostics",
        "Standing": "ReloadStatus",
        "Reading": "Reloader",
        "Switched": "Toggleable",
        "_put_into_force": "apply",
    },
    "app": {"_put_into_force": "apply"},
}
"""Room (several are parted by spaces): a name that it had, and the field's term for it."""

PHRASES = (
    "as if it were not said",
    "taken over while running",
    "put into force",
    "left out, probed and put back",
    "What it does not do",
    "So it is with",
    "is a touch",
    "A touch is nothing",
    "that says nothing is none",
    "stands in line",
    "who would have had to wait",
    "who waits",
    "whoever",
    "nobody's",
)


def files_of(rooms: str) -> Iterator[Path]:
    for room in rooms.split():
        yield from [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").exists() else (PACKAGE / room).rglob("*.py")


def names_in(source: str) -> set[str]:
    """What ``source`` gives a name to: classes, functions, parameters, fields and global constants."""
    found: set[str] = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    scopes: list[ast.Module | ast.ClassDef] = [tree]
    scopes += [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for scope in scopes:
        for statement in scope.body:
            targets = [statement.target] if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [])
            found.update(target.id for target in targets if isinstance(target, ast.Name))
    return found


def replaced_names(rooms: str, path: Path) -> list[str]:
    terms = REPLACED[rooms]
    names = names_in(path.read_text())
    return [f"{path.relative_to(ROOT)}: for {name}, the term is {terms[name]}" for name in sorted(names & terms.keys())]


@pytest.mark.parametrize("rooms", REPLACED)
def test_a_replaced_name_does_not_come_back(rooms: str) -> None:
    """Classes, functions, fields and modules have the field's term."""
    assert [line for path in files_of(rooms) for line in replaced_names(rooms, path)] == []


def test_a_replaced_name_of_a_module_does_not_come_back() -> None:
    """Modules have the name of the one idea that they hold."""
    found = [path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py") if path.stem in MODULES]
    assert found == []


def prose() -> Iterator[tuple[Path, str]]:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *PACKAGE.rglob("*.py"), ROOT / "targets.yaml"]:
        yield path, path.read_text()


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_replaced_phrase_does_not_come_back(phrase: str) -> None:
    """Documents, docstrings and comments name the subject and use the field's terms."""
    wanted = re.compile(r"\b" + r"\s+".join(map(re.escape, phrase.split())), re.IGNORECASE)
    assert [str(path.relative_to(ROOT)) for path, text in prose() if wanted.search(text)] == []


def test_a_planted_name_is_found() -> None:
    """The search itself works, for each way of giving a name."""
    source = "class A:\n    b: int\n    def c(self, d): self.e = d\nF = 1\n"
    assert names_in(source) == {"A", "b", "c", "self", "d", "e", "F"}
