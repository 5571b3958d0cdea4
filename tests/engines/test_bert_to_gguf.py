"""A converted model computes what the original does, and a file that is not whole is never used."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from embedding_process import DEFAULT, Running, running

from onwards_py.engines.base import LoadError
from onwards_py.engines.bert_to_gguf import converted
from onwards_py.engines.model_finder import find_model, missing_requirements
from onwards_py.engines.protocol import LoadFailed, Ready

np = pytest.importorskip("numpy", reason="the optional local models are not installed")
pytestmark = pytest.mark.skipif(
    missing_requirements(DEFAULT, "embedding") is not None, reason=str(missing_requirements(DEFAULT, "embedding"))
)


class Bert:
    """The model by the paper, in full precision: an oracle that shares no line with what it judges."""

    def __init__(self, folder: Path) -> None:
        raw = memoryview((folder / "model.safetensors").read_bytes())
        size = int.from_bytes(raw[:8], "little")
        table = json.loads(bytes(raw[8 : 8 + size]))
        self.weights = {
            name: np.frombuffer(raw[8 + size :][slice(*one["data_offsets"])], "<f4").reshape(one["shape"])
            for name, one in table.items()
            if name != "__metadata__" and one["dtype"] == "F32"
        }
        self.config = json.loads((folder / "config.json").read_text())

    def linear(self, x: Any, name: str) -> Any:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x: Any, name: str) -> Any:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + self.config["layer_norm_eps"])
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def layer(self, x: Any, name: str) -> Any:
        heads = self.config["num_attention_heads"]
        q, k, v = (
            self.linear(x, f"{name}.attention.self.{part}").reshape(len(x), heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]))
        mixed = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(x), -1)
        x = self.norm(x + self.linear(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        wide = self.linear(x, f"{name}.intermediate.dense")
        wide = wide * (1 + np.vectorize(math.erf)(wide / math.sqrt(2))) / 2
        return self.norm(x + self.linear(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def vector(self, ids: list[int]) -> Any:
        table = self.weights
        x = table["embeddings.word_embeddings.weight"][ids]
        x = x + table["embeddings.position_embeddings.weight"][: len(ids)]
        x = self.norm(x + table["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for number in range(self.config["num_hidden_layers"]):
            x = self.layer(x, f"encoder.layer.{number}")
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)


@pytest.fixture(scope="module")
def original() -> Path:
    return find_model(DEFAULT, "embedding").path


@pytest.fixture(scope="module")
def oracle(original: Path) -> Bert:
    return Bert(original)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("engine")) as process:
        yield process


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (" ", []),
        ("hello world", [7592, 2088]),
        ("Café, s'il vous plaît!", [7668, 1010, 1055, 1005, 6335, 29536, 2271, 20228, 4886, 2102, 999]),
        ("漢字", [1904, 100]),
        ("word " * 120, [2773] * 120),
    ],
)
def test_the_oracle_agrees(engine: Running, oracle: Bert, text: str, ids: list[int]) -> None:
    """Half precision and an approximate GELU leave the direction of a vector nearly as it is. The ids are those that
    the reference tokenizer gives."""
    (vector,) = engine.vectors(input=text)
    assert float(np.dot(vector, oracle.vector([101, *ids, 102]))) > 0.9999
    assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-5)


def test_a_model_is_converted_once(original: Path, tmp_path: Path) -> None:
    """The second time the file is there, and nothing else is."""
    file = converted(original, tmp_path)
    before = file.stat()
    assert converted(original, tmp_path) == file
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(tmp_path.iterdir()) == [file]


def small_copy(original: Path, folder: Path, **changes: object) -> Path:
    """The original by links, with other settings."""
    folder.mkdir()
    for name in ("model.safetensors", "tokenizer.json", "modules.json", "1_Pooling"):
        (folder / name).symlink_to(original / name)
    config = json.loads((original / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_changed_original_is_converted_again(original: Path, tmp_path: Path) -> None:
    """Another time of change, and another place, make another file."""
    folder = small_copy(original, tmp_path / "a")
    first = converted(folder, tmp_path / "cache")
    os.utime(folder / "config.json", (1, 1))
    second = converted(folder, tmp_path / "cache")
    third = converted(small_copy(original, tmp_path / "b"), tmp_path / "cache")
    assert len({first, second, third}) == 3


def test_two_processes_make_one_file(original: Path, tmp_path: Path) -> None:
    """Both succeed with the same whole file, whoever was first."""
    code = "import sys; from pathlib import Path; from onwards_py.engines.bert_to_gguf import converted as c;"
    code += "print(c(Path(sys.argv[1]), Path(sys.argv[2])))"
    command = [sys.executable, "-c", code, str(original), str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    said = {process.communicate(timeout=60)[0] for process in processes}
    (file,) = {path for path in tmp_path.iterdir() if path.suffix == ".gguf"}
    assert said == {f"{file}\n".encode()}
    assert file.read_bytes() == converted(original, tmp_path / "alone").read_bytes()


def test_what_was_left_half_written_is_written_anew(original: Path, tmp_path: Path) -> None:
    """A process that was killed in the middle leaves a draft, which nobody takes for the file."""
    file = converted(original, tmp_path)
    whole = file.read_bytes()
    file.unlink()
    file.with_suffix(".part").write_bytes(whole[: len(whole) // 2])
    assert converted(original, tmp_path).read_bytes() == whole
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_was_damaged_later_is_made_again(original: Path, tmp_path: Path) -> None:
    """llama.cpp refuses a file whose tensors are cut off; that costs one more conversion."""
    cache = tmp_path / "cache"
    file = converted(original, cache)
    size = file.stat().st_size
    with file.open("r+b") as damaged:
        damaged.truncate(size // 2)
    with running(tmp_path, cache=cache) as engine:
        assert isinstance(engine.report, Ready)
        assert len(engine.vectors(input="a")) == 1
    assert file.stat().st_size == size


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "xlm-roberta"}, "its architecture is xlm-roberta"),
        ({"hidden_act": "relu"}, "relu"),
        ({"vocab_size": 7}, "vocabulary"),
        ({"hidden_size": None}, "hidden_size"),
    ],
)
def test_what_llama_would_compute_otherwise_is_refused(
    original: Path, tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    """With the reason and a way out, and without a file."""
    folder = small_copy(original, tmp_path / "other", **changes)
    with pytest.raises(LoadError, match=reason) as caught:
        converted(folder, tmp_path / "cache")
    assert "use a GGUF file of it" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_weights_that_are_cut_off_are_refused(original: Path, tmp_path: Path) -> None:
    """An interrupted download, for one."""
    folder = small_copy(original, tmp_path / "short")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes((original / "model.safetensors").read_bytes()[:1_000_000])
    with pytest.raises(LoadError, match="incomplete"):
        converted(folder, tmp_path / "cache")


def test_a_conversion_that_fails_leaves_nothing(original: Path, tmp_path: Path) -> None:
    """Weights of a kind that is not read."""
    folder = small_copy(original, tmp_path / "wide")
    table = {"embeddings.word_embeddings.weight": {"dtype": "F64", "shape": [1, 1], "data_offsets": [0, 8]}}
    header = json.dumps(table).encode()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(LoadError, match=r"cannot be converted: embeddings\.word_embeddings\.weight"):
        converted(folder, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The process says so and ends; the folder is not named."""
    (tmp_path / "file").write_text("")
    with running(tmp_path, cache=tmp_path / "file" / "cache") as engine:
        assert engine.report == LoadFailed("the converted model cannot be kept in the cache folder: Not a directory")
