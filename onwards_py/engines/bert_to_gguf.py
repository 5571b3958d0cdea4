"""Converts a sentence-transformers folder to a GGUF file for llama.cpp, once; the file is cached.

Only models that llama.cpp computes identically are converted: BERT with learned positions and GELU, pooled by mean or
by the first token. The engine always normalises the vectors. Needs numpy and ``gguf``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from onwards_py.engines.base import LoadError
from onwards_py.engines.wordpiece import UnsupportedTokenizer, WordPiece

if TYPE_CHECKING:
    import gguf
    import numpy as np
    from numpy.typing import NDArray

# Part of the file name; increment it when the conversion changes.
_FORMAT: Final = 1
_WEIGHTS: Final = "model.safetensors"
_SOURCES: Final = (_WEIGHTS, "tokenizer.json", "config.json", "modules.json")
_MODULES: Final = frozenset({"Transformer", "Pooling", "Normalize"})
_PHANTOM_SPACE: Final = "\u2581"  # llama.cpp marks the beginnings of words with it; BERT marks continuations
_CONTINUED: Final = "##"
_WIDTHS: Final = {"F32": 4, "F16": 2, "BF16": 2}
_FORMS: Final = {"F32": "<f4", "F16": "<f2"}
_LONGEST_HEADER: Final = 100 * 1024 * 1024


class _BertConfig(msgspec.Struct):
    model_type: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    vocab_size: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    position_embedding_type: str = "absolute"


class _Module(msgspec.Struct):
    type: str
    path: str


class _Pooling(msgspec.Struct):
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_mean_sqrt_len_tokens: bool = False
    pooling_mode_weightedmean_tokens: bool = False
    pooling_mode_lasttoken: bool = False


class _Tensor(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The contents of a folder that are read before writing."""

    folder: Path
    config: _BertConfig
    first_token: bool
    tokenizer: WordPiece
    tensors: dict[str, _Tensor]
    data_at: int


def converted(folder: Path, cache: Path) -> Path:
    """The GGUF file of ``folder``; converts the folder if ``cache`` does not contain the file. Raises `LoadError`.

    The file is written atomically. If several processes need it, one converts the folder while the others wait; after a
    crash, the lock and the incomplete file disappear.
    """
    final = cache / _name(folder)
    if final.exists():
        return final
    plan = _plan(folder)
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = final.with_suffix(".part")
        with draft.open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not final.exists():
                _make(plan, draft, final)
    except OSError as error:
        raise LoadError(f"the converted model cannot be kept in the cache folder: {error.strerror}") from None
    return final


def title(folder: Path) -> str:
    """The display name of a model folder; in packages the folder itself is often named ``model``."""
    return folder.parent.name if folder.name == "model" else folder.name


def discard(file: Path) -> None:
    """Remove a damaged file from the cache."""
    with suppress(OSError):
        file.unlink()


def _name(folder: Path) -> str:
    """The file name, which depends on the path of the folder and on the sizes and times of its files."""
    place = folder.resolve()
    marks = [(file.stat().st_size, file.stat().st_mtime_ns) for file in (place / name for name in _SOURCES)]
    digest = hashlib.sha256(repr((str(place), marks)).encode()).hexdigest()[:16]
    return f"{title(place)}-{digest}-v{_FORMAT}.gguf"


def _plan(folder: Path) -> _Plan:
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=_BertConfig)
        modules = msgspec.json.decode((folder / "modules.json").read_bytes(), type=list[_Module])
        tokenizer = WordPiece.read((folder / "tokenizer.json").read_bytes())
        tensors, data_at = _tensors(folder / _WEIGHTS)
        if reason := _unsupported_reason(config, modules, tokenizer):
            raise UnsupportedTokenizer(reason)
        first_token = _pools_first_token(folder, modules)
    except (UnsupportedTokenizer, msgspec.MsgspecError) as error:
        raise LoadError(f"the model cannot be converted for llama.cpp: {error}; use a GGUF file of it") from None
    except OSError as error:
        raise LoadError(f"a file of the model cannot be read: {error.strerror}") from None
    return _Plan(folder, config, first_token, tokenizer, tensors, data_at)


def _unsupported_reason(config: _BertConfig, modules: list[_Module], tokenizer: WordPiece) -> str | None:
    kinds = {module.type.rpartition(".")[2] for module in modules}
    if config.model_type != "bert":
        return f"its architecture is {config.model_type}, not bert"
    if config.hidden_act != "gelu" or config.position_embedding_type != "absolute":
        return f"it has {config.hidden_act} and {config.position_embedding_type} positions"
    if unknown := kinds - _MODULES:
        return f"it has a {min(unknown)} module"
    if len(tokenizer.vocabulary) != config.vocab_size:
        return "its vocabulary and its embeddings differ in size"
    return None


def _pools_first_token(folder: Path, modules: list[_Module]) -> bool:
    """Whether pooling uses the first token's vector, instead of the mean of all vectors."""
    path = next((module.path for module in modules if module.type.endswith(".Pooling")), None)
    if path is None:
        raise UnsupportedTokenizer("it has no Pooling module")
    pooling = msgspec.json.decode((folder / path / "config.json").read_bytes(), type=_Pooling)
    modes = [name for name in pooling.__struct_fields__ if getattr(pooling, name)]
    if modes not in (["pooling_mode_cls_token"], ["pooling_mode_mean_tokens"]):
        raise UnsupportedTokenizer(f"it pools by {' and '.join(modes) or 'nothing'}")
    return pooling.pooling_mode_cls_token


def _tensors(file: Path) -> tuple[dict[str, _Tensor], int]:
    """The table of a safetensors file, and where its data begin.

    https://huggingface.co/docs/safetensors, "Format": the header's length in 8 bytes, the header as JSON, data.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(size, _LONGEST_HEADER):
            raise UnsupportedTokenizer("its weights are damaged")
        table = msgspec.json.decode(stream.read(length), type=dict[str, msgspec.Raw])
    table.pop("__metadata__", None)
    tensors = {name: msgspec.json.decode(raw, type=_Tensor) for name, raw in table.items()}
    for tensor in tensors.values():
        if tensor.dtype in _WIDTHS and not _is_whole(tensor, size - length - 8):
            raise UnsupportedTokenizer("its weights are incomplete")
    return tensors, length + 8


def _is_whole(tensor: _Tensor, size: int) -> bool:
    begin, end = tensor.data_offsets
    return 0 <= begin <= end <= size and end - begin == prod(tensor.shape) * _WIDTHS[tensor.dtype]


def _make(plan: _Plan, draft: Path, final: Path) -> None:
    try:
        _write(plan, draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.rename(final)
    except BaseException:
        discard(draft)
        raise


def _write(plan: _Plan, file: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(file, "bert")
    _add_settings(writer, plan)
    writer.add_token_type_count(plan.config.type_vocab_size)
    _add_vocabulary(writer, plan.tokenizer)
    names = list(_renamed(plan))
    for old, new in names:
        half = _is_matrix(old, plan.tensors[old])
        shape = plan.tensors[old].shape
        dtype = _dtype(half)
        writer.add_tensor_info(new, shape, dtype, prod(shape) * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for old, _ in names:  # a loop, so that only one tensor at a time is in memory
        half = _is_matrix(old, plan.tensors[old])
        writer.write_tensor_data(_values(plan, old).astype(_dtype(half)))
    writer.close()


def _add_settings(writer: gguf.GGUFWriter, plan: _Plan) -> None:
    from gguf import LlamaFileType, PoolingType

    config = plan.config
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.CLS if plan.first_token else PoolingType.MEAN)


def _add_vocabulary(writer: gguf.GGUFWriter, tokenizer: WordPiece) -> None:
    from gguf import TokenType

    specials = tokenizer.specials
    controls = {specials.begin, specials.end, specials.unknown, specials.padding, specials.mask}
    tokens = [
        token if number in controls else _in_llama_notation(token) for number, token in enumerate(tokenizer.vocabulary)
    ]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if n in controls else TokenType.NORMAL for n in range(len(tokens))])
    writer.add_bos_token_id(specials.begin)
    writer.add_eos_token_id(specials.end)
    writer.add_sep_token_id(specials.end)
    writer.add_unk_token_id(specials.unknown)
    writer.add_pad_token_id(specials.padding)
    writer.add_mask_token_id(specials.mask)


def _in_llama_notation(token: str) -> str:
    return token.removeprefix(_CONTINUED) if token.startswith(_CONTINUED) else _PHANTOM_SPACE + token


def _renamed(plan: _Plan) -> Iterator[tuple[str, str]]:
    """Names of the tensors that embeddings need, and their names in llama.cpp."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    names = get_tensor_name_map(MODEL_ARCH.BERT, plan.config.num_hidden_layers)
    for old in plan.tensors:
        plain = old.removeprefix("bert.")
        if plain.startswith(("embeddings.", "encoder.")) and not plain.endswith(".position_ids"):
            new = names.get_name(plain, try_suffixes=(".weight", ".bias"))
            if new is None or plan.tensors[old].dtype not in _WIDTHS:
                raise LoadError(f"the model has a tensor that cannot be converted: {plain}")
            yield old, new


def _is_matrix(name: str, tensor: _Tensor) -> bool:
    """Whether a tensor is stored in half precision: matrices and word embeddings, but not the others (llama.cpp)."""
    return len(tensor.shape) == 2 and "position_embeddings" not in name and "token_type_embeddings" not in name


def _dtype(half: bool) -> np.dtype[np.float16] | np.dtype[np.float32]:
    import numpy as np

    return np.dtype(np.float16) if half else np.dtype(np.float32)


def _values(plan: _Plan, name: str) -> NDArray[np.float32]:
    """The values of a tensor, read from the file."""
    import numpy as np

    tensor = plan.tensors[name]
    begin, end = tensor.data_offsets
    raw = np.fromfile(plan.folder / _WEIGHTS, dtype=np.uint8, count=end - begin, offset=plan.data_at + begin)
    if tensor.dtype == "BF16":  # the upper half of a float32
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(tensor.shape)
    return raw.view(_FORMS[tensor.dtype]).reshape(tensor.shape).astype(np.float32)
