"""The response to a request line. Every request has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onwards_py.transports.echo import chat, completions, embeddings, responses, small
from onwards_py.transports.echo.answers import CompleteAnswer, EchoError, EchoRequest, StreamedAnswer, error_answer

_Builder = Callable[[EchoRequest], CompleteAnswer | StreamedAnswer]

_POST: Mapping[bytes, _Builder] = {
    b"/chat/completions": chat.answer,
    b"/completions": completions.answer,
    b"/embeddings": embeddings.answer,
    b"/responses": responses.answer,
    b"/files": small.file,
    b"/audio/transcriptions": small.transcription,
    b"/audio/translations": small.transcription,
}
_MODELS = b"/models"


def answer(method: bytes, target: bytes, ask: EchoRequest) -> CompleteAnswer | StreamedAnswer:
    """The response to one request: an error is a response too.

    ``target`` is the raw request target; its query is ignored and ``/v1`` in front is optional.
    """
    try:
        return _builder(method, _path(target))(ask)
    except EchoError as refusal:
        return error_answer(refusal)


def _path(target: bytes) -> bytes:
    path = target.partition(b"?")[0]
    if not path.startswith(b"/"):  # absolute-form (RFC 9112 section 3.2.2)
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    return path.removeprefix(b"/v1")


def _builder(method: bytes, path: bytes) -> _Builder:
    if path == _MODELS or path.startswith(_MODELS + b"/"):
        _expect(method, b"GET")
        return small.models if path == _MODELS else small.model
    if path not in _POST:
        raise EchoError("The echo engine does not serve this path.", status=404, code="not_found")
    _expect(method, b"POST")
    return _POST[path]


def _expect(method: bytes, wanted: bytes) -> None:
    if method != wanted:
        message = f"This path is served for {wanted.decode()} only."
        raise EchoError(message, status=405, code="method_not_allowed")
