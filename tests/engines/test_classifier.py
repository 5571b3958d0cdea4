"""The classifier engine: what it loads, what it refuses to load, and what it answers."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from onwards_py.engines.base import EngineError, EngineResult, Job, LoadError
from onwards_py.engines.classification import checked_classification, sigmoid, softmax
from onwards_py.engines.classifier import ClassifierEngine
from onwards_py.engines.classifier_requests import MAX_CHARACTERS, MAX_TEXTS
from onwards_py.engines.classifier_sklearn import compute_in_one_thread
from onwards_py.engines.protocol import LaunchSpec
from onwards_py.engines.registry import make_engine

np = pytest.importorskip("numpy", reason="the extra 'local' is not installed")
skops_io = pytest.importorskip("skops.io", reason="the extra 'local' is not installed")
pytest.importorskip("onnxruntime", reason="the extra 'local' is not installed")
pytest.importorskip("sklearn", reason="the extra 'local' is not installed")

from sklearn.cluster import KMeans  # noqa: E402
from sklearn.ensemble import RandomForestClassifier  # noqa: E402
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier  # noqa: E402
from sklearn.multioutput import MultiOutputClassifier  # noqa: E402
from sklearn.naive_bayes import MultinomialNB  # noqa: E402
from sklearn.neighbors import KNeighborsClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.svm import LinearSVC  # noqa: E402

HARD = "prove that the theorem of number {n} holds for all primes"
EASY = "hello my friend number {n} what a nice day"
TEXTS = [HARD.format(n=n) for n in range(20)] + [EASY.format(n=n) for n in range(20)]
LABELS = ["hard"] * 20 + ["easy"] * 20
PROVE = "prove the theorem"
HELLO = "hello friend"

Save = Callable[..., Path]


class Recorder:
    """A sink that keeps what it is given, and whose client leaves after ``stays`` events."""

    def __init__(self, stays: int = 99) -> None:
        self.begun = 0
        self.left = False
        self.events: list[bytes] = []
        self.stays = stays

    def begin(self) -> None:
        self.begun += 1

    def event(self, data: bytes) -> bool:
        assert not self.left, "the client has left"
        if len(self.events) == self.stays:
            self.left = True
            return False
        self.events.append(data)
        return True


def pipeline(classifier: object, labels: Sequence[object] = LABELS, vectorizer: object = None) -> object:
    return make_pipeline(vectorizer or TfidfVectorizer(), classifier).fit(TEXTS, list(labels))


def loaded(path: Path, threads: int = 1) -> ClassifierEngine:
    engine = ClassifierEngine(LaunchSpec("classifier", str(path), "socket", "cache", threads=threads))
    engine.load()
    return engine


def ask(engine: ClassifierEngine, path: str, sink: Recorder | None = None, **body: object) -> EngineResult:
    return engine.routes[path]({"model": "difficulty", **body}, sink or Recorder(), Job())


def answer(engine: ClassifierEngine, path: str, **body: object) -> dict[str, object]:
    reply = ask(engine, path, None, **body)
    assert reply.body is not None
    whole: dict[str, object] = json.loads(reply.body)
    return whole


def classified(engine: ClassifierEngine, text: str) -> dict[str, object]:
    data = answer(engine, "/classify", input=text)["data"]
    assert isinstance(data, list)
    assert len(data) == 1
    one: dict[str, object] = data[0]
    return one


def probabilities(engine: ClassifierEngine, text: str) -> dict[str, float]:
    found = classified(engine, text)["probabilities"]
    assert isinstance(found, dict)
    return found


def user(content: object) -> list[object]:
    return [{"role": "user", "content": content}]


@pytest.fixture(scope="module")
def skops_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("skops") / "difficulty.skops"
    skops_io.dump(pipeline(LogisticRegression()), path)
    return path


@pytest.fixture(scope="module")
def engine(skops_file: Path) -> ClassifierEngine:
    return loaded(skops_file)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def dump(model: object) -> Path:
        path = tmp_path / "model.skops"
        skops_io.dump(model, path)
        return path

    return dump


@pytest.fixture
def convert(tmp_path: Path) -> Save:
    """Saves a pipeline as ONNX. Not every machine has the locale that is the converter's default."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="the converter is for tests only")
    from skl2onnx.common.data_types import StringTensorType

    def to_onnx(
        model: object, *, zipmap: bool = True, locale: str = "C.UTF-8", classes: str | None = None, columns: int = 1
    ) -> Path:
        options: dict[object, object] = {TfidfVectorizer: {"locale": locale}}
        if hasattr(model, "predict_proba"):
            options[id(model)] = {"zipmap": zipmap}
        types = [(f"text{n}", StringTensorType([None, 1])) for n in range(columns)]
        made = skl2onnx.convert_sklearn(model, initial_types=types, options=options)
        if classes is not None:
            made.metadata_props.add(key="classes", value=classes)
        path = tmp_path / "model.onnx"
        path.write_bytes(made.SerializeToString())
        return path

    return to_onnx


# Loading


def test_it_says_what_it_loaded(skops_file: Path, engine: ClassifierEngine) -> None:
    """The file's name without its folder, and its size."""
    assert engine.file == "difficulty.skops"
    assert engine.bytes == skops_file.stat().st_size


def test_the_registry_knows_it(skops_file: Path) -> None:
    """``engine: classifier`` is this one."""
    assert isinstance(make_engine(LaunchSpec("classifier", str(skops_file), "socket", "cache")), ClassifierEngine)


def refusal(path: Path) -> str:
    """Why a file is not loaded; in words that a client may read, so without folders."""
    with pytest.raises(LoadError) as caught:
        loaded(path)
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["model.pkl", "model.pickle", "model.joblib", "MODEL.PKL"])
def test_a_pickle_is_refused_unread(tmp_path: Path, name: str) -> None:
    """Loading one may run anything; the advice is skops."""
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (marker,))

    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    assert "skops.io.dump" in refusal(tmp_path / name)
    assert not marker.exists()


def shout(text: str) -> list[str]:
    return text.upper().split()


def test_types_that_skops_does_not_trust_are_named_and_refused(save: Save) -> None:
    """A user's own function is code; skops lists it, and the model is refused without a question."""
    model = pipeline(LogisticRegression(), vectorizer=TfidfVectorizer(analyzer=shout))
    assert "shout" in refusal(save(model))
    assert "_tree.Tree" in refusal(save(pipeline(RandomForestClassifier(n_estimators=2))))


@pytest.mark.parametrize("name", ["model.skops", "model.onnx", "model.txt", "missing.skops"])
def test_a_file_that_is_no_model_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """Broken, foreign or absent."""
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"no model")
    assert name in refusal(tmp_path / name)


def test_what_does_not_classify_texts_is_refused(save: Save) -> None:
    """No estimator, a regressor, a classifier of numbers, one that gives several labels, one without fitting scores."""
    assert "not a classifier" in refusal(save({"a": 1}))
    assert "not a classifier" in refusal(save(make_pipeline(TfidfVectorizer(), Ridge()).fit(TEXTS, range(40))))
    numbers = LogisticRegression().fit([[0.0], [1.0]], ["a", "b"])
    assert "one pipeline" in refusal(save(numbers))
    pairs = [[label, "x" if index % 2 else "y"] for index, label in enumerate(LABELS)]
    several = make_pipeline(TfidfVectorizer(), MultiOutputClassifier(LogisticRegression())).fit(TEXTS, pairs)
    assert "several labels" in refusal(save(several))


def test_an_onnx_model_with_other_inputs_is_refused(convert: Save, tmp_path: Path) -> None:
    """Two inputs, or numbers: the message contains the inputs and the required ones."""
    skl2onnx = pytest.importorskip("skl2onnx")
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.compose import ColumnTransformer

    two = make_pipeline(ColumnTransformer([("a", TfidfVectorizer(), 0), ("b", TfidfVectorizer(), 1)]), MultinomialNB())
    two.fit(np.array([[text, text] for text in TEXTS], dtype=object), LABELS)
    assert "text0: tensor(string)" in refusal(convert(two, columns=2))
    numbers = LogisticRegression().fit([[0.0], [1.0]], ["a", "b"])
    made = skl2onnx.convert_sklearn(numbers, initial_types=[("x", FloatTensorType([None, 1]))])
    (tmp_path / "numbers.onnx").write_bytes(made.SerializeToString())
    assert "one input of texts" in refusal(tmp_path / "numbers.onnx")


def test_an_onnx_model_with_other_outputs_is_refused(convert: Save) -> None:
    """A regressor gives no label."""
    regressor = make_pipeline(TfidfVectorizer(), Ridge()).fit(TEXTS, [float(n) for n in range(40)])
    assert "must give labels" in refusal(convert(regressor))


def test_a_locale_that_is_not_there_is_explained(convert: Save) -> None:
    """The converter's default locale is missing in most containers."""
    assert "locale" in refusal(convert(pipeline(LogisticRegression()), locale="xx_XX.UTF-8"))


# Where the numbers come from


@pytest.mark.parametrize(
    ("classifier", "scores"),
    [
        (LogisticRegression(), "probability"),
        (MultinomialNB(), "probability"),
        (LinearSVC(), "sigmoid"),
        (SGDClassifier(random_state=0), "sigmoid"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_probabilities_else_scores(save: Save, classifier: object, scores: str) -> None:
    """For every kind of estimator there are a label and numbers with the sum 1; the answer names their source."""
    engine = loaded(save(pipeline(classifier)))
    for text, label in ((PROVE, "hard"), (HELLO, "easy")):
        one = classified(engine, text)
        assert one["label"] == label
        assert one["scores"] == scores
        numbers = probabilities(engine, text)
        assert max(numbers, key=numbers.__getitem__) == label
        assert math.isclose(sum(numbers.values()), 1.0)


def test_scores_of_three_classes_go_through_softmax(save: Save) -> None:
    """A linear SVM has no probabilities; the order of its scores is kept."""
    labels = ["hard"] * 20 + ["easy"] * 10 + ["late"] * 10
    model = pipeline(LinearSVC(), labels)
    one = classified(loaded(save(model)), PROVE)
    assert one["scores"] == "softmax"
    scores = model.decision_function([PROVE])[0]  # type: ignore[attr-defined]
    expected = np.exp(scores) / np.exp(scores).sum()
    assert one["probabilities"] == pytest.approx(dict(zip(["easy", "hard", "late"], expected, strict=True)))


def test_the_numbers_are_the_estimators_own(engine: ClassifierEngine, skops_file: Path) -> None:
    """Compared with scikit-learn asked directly."""
    model = skops_io.load(skops_file)
    for text in (PROVE, HELLO, ""):
        expected = dict(zip(model.classes_, model.predict_proba([text])[0], strict=True))
        assert probabilities(engine, text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "names"),
    [([1, 0], {"0", "1"}), ([True, False], {"True", "False"}), ([np.int8(7), np.int8(-1)], {"7", "-1"})],
)
def test_labels_that_are_no_strings_become_strings(save: Save, labels: list[object], names: set[str]) -> None:
    """As JSON and a routing table need them."""
    engine = loaded(save(pipeline(LogisticRegression(), [labels[0]] * 20 + [labels[1]] * 20)))
    assert set(probabilities(engine, PROVE)) == names
    assert classified(engine, PROVE)["label"] == str(labels[0])


def test_nothing_is_spread_over_processors_for_one_text() -> None:
    """A pool of threads costs more than one text; n_jobs is replaced at every depth of a pipeline."""
    model = make_pipeline(TfidfVectorizer(), KNeighborsClassifier(n_jobs=-1))
    compute_in_one_thread(model)
    assert model.get_params()["kneighborsclassifier__n_jobs"] is None
    compute_in_one_thread(TfidfVectorizer())
    compute_in_one_thread(object())


def test_a_model_without_classes_gives_its_prediction(save: Save) -> None:
    """Clusters have numbers; the number is the label, with all of the probability."""
    model = pipeline(KMeans(2, n_init=1, random_state=0), vectorizer=HashingVectorizer(n_features=64))
    engine = loaded(save(model))
    one = classified(engine, PROVE)
    assert one["label"] in {"0", "1"}
    assert (one["scores"], one["probabilities"]) == ("none", {one["label"]: 1.0})
    assert classified(engine, PROVE)["label"] != classified(engine, HELLO)["label"]


@pytest.mark.parametrize("labels", [LABELS, [1] * 20 + [0] * 20], ids=["strings", "integers"])
def test_onnx_says_what_scikit_learn_says(convert: Save, labels: list[object]) -> None:
    """Probabilities as dictionaries, which is how the converter writes them by default."""
    model = pipeline(LogisticRegression(), labels)
    engine = loaded(convert(model), threads=2)
    for text in (PROVE, HELLO):
        values = model.predict_proba([text])[0]  # type: ignore[attr-defined]
        expected = {str(label): value for label, value in zip(model.classes_, values, strict=True)}  # type: ignore[attr-defined]
        assert probabilities(engine, text) == pytest.approx(expected, abs=1e-5)
        assert classified(engine, text)["label"] == str(model.predict([text])[0])  # type: ignore[attr-defined]


def test_onnx_probabilities_in_a_tensor_need_the_names_of_the_classes(convert: Save) -> None:
    """Without names the probabilities could not be assigned to classes."""
    model = pipeline(LogisticRegression())
    assert "zipmap" in refusal(convert(model, zipmap=False))
    assert "zipmap" in refusal(convert(model, zipmap=False, classes="easy, hard"))
    assert "does not classify" in refusal(convert(model, zipmap=False, classes='["easy","hard","late"]'))
    engine = loaded(convert(model, zipmap=False, classes='["easy","hard"]'))
    numbers = probabilities(engine, PROVE)
    assert set(numbers) == {"easy", "hard"}
    assert max(numbers, key=numbers.__getitem__) == classified(engine, PROVE)["label"] == "hard"


def test_scores_become_numbers_whatever_their_size() -> None:
    """``exp`` of a large score overflows; these do not."""
    assert softmax([1e6, -1e6, 0.0]) == [1.0, 0.0, 0.0]
    assert sigmoid(1e6) == [0.0, 1.0]
    assert sigmoid(-1e6) == [1.0, 0.0]
    assert sigmoid(2.0) == pytest.approx(softmax([0.0, 2.0]))
    with pytest.raises(ArithmeticError):
        checked_classification("a", {"a": math.nan}, "probability")


# Answers


def test_a_chat_is_answered_with_the_label(engine: ClassifierEngine) -> None:
    """The member ``classification`` stands beside what every chat answer has; words count as tokens."""
    whole = answer(engine, "/chat/completions", messages=[*user("hello"), *user(PROVE)], temperature=1)
    assert whole["object"] == "chat.completion"
    assert whole["model"] == "difficulty"
    assert str(whole["id"]).startswith("chatcmpl-")
    message = {"role": "assistant", "content": "hard", "refusal": None}
    assert whole["choices"] == [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    one = classified(engine, PROVE)
    assert whole["classification"] == {name: one[name] for name in ("label", "probabilities", "scores")}


def test_text_parts_are_joined_by_line_ends(engine: ClassifierEngine) -> None:
    """Pictures are left out."""
    parts = [{"type": "text", "text": "hello"}, {"type": "image_url"}, {"type": "text", "text": "friend"}]
    in_parts = answer(engine, "/chat/completions", messages=user(parts))
    as_text = answer(engine, "/chat/completions", messages=user("hello\nfriend"))
    assert in_parts["classification"] == as_text["classification"]


@pytest.mark.parametrize("prompt", [PROVE, [PROVE]])
def test_a_completion_is_answered_with_the_label(engine: ClassifierEngine, prompt: object) -> None:
    """``prompt`` is a string or a list of one."""
    whole = answer(engine, "/completions", prompt=prompt)
    assert whole["object"] == "text_completion"
    assert whole["choices"] == [{"index": 0, "text": "hard", "logprobs": None, "finish_reason": "stop"}]
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}


def test_classify_lists_a_verdict_for_each_text(engine: ClassifierEngine) -> None:
    """vLLM's shape (``probs``, ``num_classes``) and the probabilities by label; more texts than one batch."""
    texts = [PROVE, HELLO, "", *TEXTS * 3]
    whole = answer(engine, "/classify", input=texts)
    data = whole["data"]
    assert whole["object"] == "list"
    assert whole["model"] == "difficulty"
    assert isinstance(data, list)
    assert [one["index"] for one in data] == list(range(len(texts)))
    assert [one["label"] for one in data[3:]] == LABELS * 3
    assert data[0]["label"] == "hard"
    assert data[1]["label"] == "easy"
    assert data[0]["probs"] == list(data[0]["probabilities"].values())
    assert data[0]["num_classes"] == 2
    words = sum(len(text.split()) for text in texts)
    assert whole["usage"] == {"prompt_tokens": words, "completion_tokens": 0, "total_tokens": words}


@pytest.mark.parametrize("with_usage", [False, True])
def test_a_chat_is_streamed_as_chunks(engine: ClassifierEngine, with_usage: bool) -> None:
    """One chunk with role and content, one with the reason, the usage if it is wanted, ``[DONE]``."""
    sink = Recorder()
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    reply = ask(engine, "/chat/completions", sink, messages=user(PROVE), stream=True, **options)
    assert reply.body is None
    assert sink.begun == 1
    *chunks, end = sink.events
    assert end == b"[DONE]"
    read = [json.loads(chunk) for chunk in chunks]
    assert {(chunk["id"], chunk["object"], chunk["model"]) for chunk in read} == {
        (read[0]["id"], "chat.completion.chunk", "difficulty")
    }
    first, last, *usage = read
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "hard"}
    assert first["choices"][0]["finish_reason"] is None
    assert first["classification"]["label"] == "hard"
    assert last["choices"][0]["delta"] == {}
    assert last["choices"][0]["finish_reason"] == "stop"
    if with_usage:
        assert first["usage"] is None
        assert usage[0]["choices"] == []
        assert usage[0]["usage"] == {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    else:
        assert usage == []
        assert "usage" not in first


def test_a_completion_is_streamed_as_chunks(engine: ClassifierEngine) -> None:
    """The texts of the chunks join to the label."""
    sink = Recorder()
    ask(engine, "/completions", sink, prompt=PROVE, stream=True)
    chunks = [json.loads(data) for data in sink.events[:-1]]
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["hard", ""]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, "stop"]
    assert sink.events[-1] == b"[DONE]"


def test_a_stream_ends_when_its_client_leaves(engine: ClassifierEngine) -> None:
    """The sink reports it and gets no further events."""
    sink = Recorder(stays=1)
    ask(engine, "/chat/completions", sink, messages=user(PROVE), stream=True)
    assert len(sink.events) == 1


def test_a_stopped_job_is_not_computed(engine: ClassifierEngine) -> None:
    """Its client has left: no text is read, no answer is written, no stream begins."""
    job = Job()
    job.request_stop(0.0)
    sink = Recorder()
    for path, body in (
        ("/classify", {"input": [PROVE] * 100}),
        ("/chat/completions", {"messages": user(PROVE)}),
        ("/completions", {"prompt": PROVE, "stream": True}),
    ):
        reply = engine.routes[path]({"model": "difficulty", **body}, sink, job)
        assert reply.body is None
        assert reply.cost is not None
        assert reply.cost.prompt_tokens == 0
    assert sink.begun == 0


def test_what_it_cost_is_reported(engine: ClassifierEngine) -> None:
    """Words read, one token made when a chat is answered, and the time of the computation."""
    done = ask(engine, "/chat/completions", messages=user(PROVE)).cost
    assert done is not None
    assert (done.prompt_tokens, done.completion_tokens, done.completion_seconds) == (3, 1, 0.0)
    assert done.prompt_seconds > 0
    listed = ask(engine, "/classify", input=[PROVE, HELLO]).cost
    assert listed is not None
    assert (listed.prompt_tokens, listed.completion_tokens) == (5, 0)


# Errors


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/chat/completions", {}, "messages"),
        ("/chat/completions", {"messages": []}, "messages"),
        ("/chat/completions", {"messages": "hello"}, "messages"),
        ("/chat/completions", {"messages": ["hello"]}, "messages"),
        ("/chat/completions", {"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ("/chat/completions", {"messages": user(None)}, "messages"),
        ("/chat/completions", {"messages": user([{"type": "image_url"}])}, "messages"),
        ("/chat/completions", {"messages": user([{"type": "text", "text": 5}])}, "messages"),
        ("/chat/completions", {"messages": user("a" * (MAX_CHARACTERS + 1))}, "messages"),
        ("/chat/completions", {"messages": user("a"), "n": 2}, "n"),
        ("/chat/completions", {"messages": user("a"), "stream": "yes"}, "stream"),
        ("/chat/completions", {"messages": user("a"), "stream": True, "stream_options": []}, "stream_options"),
        ("/completions", {}, "prompt"),
        ("/completions", {"prompt": []}, "prompt"),
        ("/completions", {"prompt": ["a", "b"]}, "prompt"),
        ("/completions", {"prompt": [1, 2]}, "prompt"),
        ("/completions", {"prompt": "a", "n": 2}, "n"),
        ("/classify", {}, "input"),
        ("/classify", {"input": []}, "input"),
        ("/classify", {"input": [1, 2]}, "input"),
        ("/classify", {"input": ["a", None]}, "input"),
        ("/classify", {"input": ["a"] * (MAX_TEXTS + 1)}, "input"),
        ("/classify", {"input": "a" * (MAX_CHARACTERS + 1)}, "input"),
    ],
)
def test_bad_input_is_named(engine: ClassifierEngine, path: str, body: dict[str, object], param: str) -> None:
    """400 in the dialect's envelope, before anything is computed or streamed."""
    sink = Recorder()
    with pytest.raises(EngineError) as caught:
        ask(engine, path, sink, **body)
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    assert caught.value.param == param
    assert sink.begun == 0
