"""``route_by`` with a real classifier in its own process."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.classifiers import EASY, HARD, train
from support.leading import chat, crossing, put
from support.origin import answer, once
from support.program import until

from onwards_py.transports.engine.engine import EngineState


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a trained model."""
    return train(tmp_path_factory.mktemp("classifier"))


async def test_a_trained_model_distinguishes_hard_from_easy(lane: bool, model: Path) -> None:
    """The labels of a linear text model select the targets. Its engine counts the requests."""
    engine = {"url": None, "local": {"engine": "classifier", "model": str(model), "load": "eager"}}
    async with crossing(lane, options={"which": engine}) as scene:
        (only,) = scene.gateway.application.engines.all()
        await until(lambda: only.state is EngineState.READY)
        texts = [kind.format(n=n) for n in (3, 30) for kind in (HARD, EASY)]
        bodies = [(await put(scene, chat(text))).body for text in texts]
        led = [await scene.led("big", "label"), await scene.led("small", "label")]
    assert bodies == [b"by big", b"by small"] * 2
    assert led == [2, 2]


async def test_the_default_answers_while_the_classifier_loads(lane: bool, model: Path) -> None:
    """The first requests go to the default after the timeout. The process that they started labels the later ones."""
    engine = {"url": None, "local": {"engine": "classifier", "model": str(model)}}
    by_big = once(answer(b"by big"))  # loading may take longer than a scripted connection waits for more
    async with crossing(lane, big=by_big, options={"which": engine}, patience="100ms") as scene:
        assert (await put(scene, chat(EASY))).body == b"by big"
        assert await scene.led("big", "timeout") == 1
        (only,) = scene.gateway.application.engines.all()
        await until(lambda: only.state is EngineState.READY)
        assert (only.counters.loads, only.in_flight) == (1, 0)


async def test_without_the_model_file_the_default_answers(lane: bool, tmp_path: Path) -> None:
    """The file is missing, and every request is still answered."""
    engine = {"url": None, "local": {"engine": "classifier", "model": str(tmp_path / "gone.skops")}}
    async with crossing(lane, options={"which": engine}) as scene:
        bodies = [(await put(scene, chat(EASY))).body for _ in range(2)]
        led = await scene.led("big", "failed")
    assert (bodies, led) == ([b"by big"] * 2, 2)
