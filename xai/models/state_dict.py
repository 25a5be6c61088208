"""State dicts: read from weights files of any name, never their code, and without the names of wrappers."""

import json
import pickle
import re
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from xai.core import ModelError

AGAIN = "The download may be incomplete: fetch it again and compare its size."
_EXPECTED = "Expected .safetensors, or what torch.save writes (.pth, .pt, .ckpt, .bin, .pth.tar …)."
_SAVE = "torch.save(model.state_dict(), path), or safetensors."
_MAX_INFLATION = 20  # torch.save does not compress; beyond this a small file would fill the memory
_MAX_INDEX = 100_000_000  # bytes
# beginnings of files that hold no torch weights: bytes, where they stand, what such a file is, the way on
_CONVERT = "Convert it to torch with the library that wrote it, then torch.save(model.state_dict(), path)."
_UNPACK = "Unpack it first and give the file inside."
_AGAIN = "The download may be incomplete: fetch it again and compare its size."
_FOREIGN = (
    (b"\x89HDF\r\n\x1a\n", 0, "an HDF5 file (Keras or TensorFlow weights, a data set)", _CONVERT),
    (b"\x93NUMPY", 0, "a NumPy array", _CONVERT),
    (b"TFL3", 4, "a TensorFlow Lite model", _CONVERT),
    (b"GGUF", 0, "a GGUF file (quantised weights of llama.cpp)", "Give the weights that it was made from."),
    (b"PTMF", 4, "a model for PyTorch Mobile", "Give the state dict that it was made from."),
    (b"\x1f\x8b", 0, "compressed (gzip)", _UNPACK),
    (b"BZh", 0, "compressed (bzip2)", _UNPACK),
    (b"\xfd7zXZ\x00", 0, "compressed (xz)", _UNPACK),
    (b"\x28\xb5\x2f\xfd", 0, "compressed (zstd)", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive", _UNPACK),
    (b"Rar!", 0, "a RAR archive", _UNPACK),
    (b"PAR1", 0, "a Parquet table", "Give the checkpoint."),
    (b"\x89PNG", 0, "a PNG picture", "Give the checkpoint."),
    (b"\xff\xd8\xff", 0, "a JPEG picture", "Give the checkpoint."),
    (
        b"version https://git-lfs",
        0,
        "a Git LFS pointer: the weights themselves were not downloaded",
        "Run git lfs pull in its repository.",
    ),
)
_WEB_PAGE = (b"<!doctype", b"<html", b"<?xml")
_HEAD = 512
_LONGEST_HEADER = 100_000_000  # bytes of a safetensors header, as its own library allows
# written by torch and Lightning Fabric alone, so they go wherever they stand
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"})
# DataParallel's, but also a name that a model may have
_MODULE = "module"
# what averaged models count beside their weights (torch.optim.swa_utils, mmengine)
_COUNTERS = frozenset({"n_averaged", "steps", "num_updates", "decay"})


def read_file(path: Path) -> Any:
    """What lies in a weights file, on the CPU; its bytes say how it is read, not its name.

    Args:
        path: A safetensors or torch file, or the index of a sharded checkpoint
            (`model.safetensors.index.json`, `pytorch_model.bin.index.json`), whose shards lie beside it.

    Raises:
        ModelError: When it is missing, truncated, of another kind, or holds code.
    """
    if path.is_dir():
        raise ModelError(
            f"{path} is a folder, no weights file.",
            "Give a file in it with weights=/--weights; a Hugging Face folder is loaded as local:DIR.",
        )
    if not path.is_file():
        raise ModelError(f"There is no weights file {path}.", "Give the checkpoint with weights=/--weights.")
    try:
        kind = kind_of(path)
        if kind == "json":
            return _read_shards(path)
        return _read_one(path, kind)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.", AGAIN) from None


def _read_one(path: Path, kind: str) -> Any:
    if kind == "safetensors":
        return _read_safetensors(path)
    if kind == "empty":
        raise ModelError(f"{path} is no weights file: it is empty.", f"{AGAIN} {_EXPECTED}")
    if kind == "zip":
        what = zip_kind(path)
        if not what:
            raise ModelError(f"{path} is truncated or no weights file.", AGAIN)
        if what != "torch":
            raise _named(path, what, f"Load it where it was made and save its weights: {_SAVE}")
        if unpacked_size(path) > _MAX_INFLATION * path.stat().st_size:
            raise ModelError(
                f"{path} declares {unpacked_size(path)} bytes of weights in a file of {path.stat().st_size}.",
                "It was made to fill the memory; torch.save writes no such file.",
            )
    elif kind == "tar":
        what = tar_kind(path)
        if "torch" in what:  # torch reads this form only together with the code in it
            raise _named(
                path, what, f"Where you trust it, load it with an old torch and save it anew: {_SAVE}"
            )
        raise _named(path, what, "Unpack it first and give the file inside.")
    elif kind != "pickle":
        what, way = foreign(path)
        if what:
            raise _named(path, what, way)
        raise ModelError(f"{path} is no weights file.", f"{AGAIN} {_EXPECTED}")
    return _read_pickled(path)


def _named(path: Path, what: str, way: str) -> ModelError:
    return ModelError(f"{path} is no weights file but {what}.", way)


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except Exception as error:  # the library meets a hostile header with errors of many kinds
        raise ModelError(
            f"{path} is truncated or no readable safetensors file: {_short(error)}.", AGAIN
        ) from None


def _read_pickled(path: Path) -> Any:
    try:
        with path.open("rb") as file:  # given a path, torch would judge by the name .safetensors
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)", str(error)) or re.search(
            r"`?([\w.]+)`? was not an allowed", str(error)
        )
        raise ModelError(
            f"{path} was refused: it holds more than tensors{f' ({refused[1]})' if refused else ''}, "
            "and reading that would run its code.",
            f"Where you trust the file, load it once and save its tensors alone: {_SAVE}",
        ) from None
    except Exception:  # the bytes may be anything, and so is what torch meets in them
        raise ModelError(f"{path} is truncated or no weights file.", AGAIN) from None


def _read_shards(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_INDEX:
            raise ValueError
        content = json.loads(path.read_text("utf-8"))
        shards = content["weight_map"]
        names = sorted(set(shards.values()))
        if not all(isinstance(name, str) and name for name in names):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        kind = "an adapter's configuration" if path.name == "adapter_config.json" else "JSON"
        raise _named(path, kind, f"Give the weights beside it. {_EXPECTED}") from None
    state: dict[str, Any] = {}
    for name in names:
        shard = path.parent / name
        if Path(name).name != name or not shard.is_file():
            raise ModelError(f"{path} names the shard {name}, which does not lie beside it.", AGAIN)
        content = _read_one(shard, kind_of(shard))
        if not isinstance(content, dict):
            raise ModelError(f"The shard {shard} holds no state dict but {type(content).__name__}.")
        if twice := sorted(state.keys() & content.keys(), key=str):
            raise ModelError(f"{shard} holds {twice[0]}, which another shard holds too.", AGAIN)
        state.update(content)
    if lacking := sorted(shards.keys() - state.keys()):
        raise ModelError(f"The shards of {path} lack {', '.join(lacking[:5])}.", AGAIN)
    return state


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def kind_of(path: Path) -> str:
    """One of "safetensors", "zip", "pickle", "tar", "json", "empty", "unknown"; see also `foreign`.

    Args:
        path: A readable file.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "empty"
    if head.startswith(b"PK"):
        return "zip"
    if _is_safetensors(head, path.stat().st_size):
        return "safetensors"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if head[257:262] == b"ustar":
        return "tar"
    return "json" if head.lstrip()[:1] in (b"{", b"[") else "unknown"


def foreign(path: Path) -> tuple[str, str]:
    """What a file of kind "unknown" is instead of weights ("" where that cannot be seen), and the way on."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for beginning, at, what, way in _FOREIGN:
        if head[at : at + len(beginning)] == beginning:
            return what, way
    if head.lstrip().lower().startswith(_WEB_PAGE):
        return "a web page, as sites send that ask to sign in", _AGAIN
    # protobuf has no magic number: field 1 (a small version number), then field 2 (a name or a graph)
    if path.suffix.lower() == ".onnx" or (
        head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] == b"\x12"
    ):
        return "an ONNX model or a TensorFlow graph", _CONVERT
    return "", _AGAIN


def zip_kind(path: Path) -> str:
    """What a zip archive holds: "torch", or in words what it is instead; "" when it is truncated."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return ""
    names = [entry.filename for entry in entries]
    inside = {name.partition("/")[2] or name for name in names}
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        return "a TorchScript archive (torch.jit.save): a program with its weights"
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names):
        return "a torch.export program"
    if "data.pkl" in inside:
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive (.npz)"
    if "model.weights.h5" in names:
        return "a Keras model"
    return "a zip archive that torch.save did not write"


def unpacked_size(path: Path) -> int:
    """Bytes that a zip archive declares to hold."""
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def tar_kind(path: Path) -> str:
    """What a tar archive is, in words."""
    try:
        with tarfile.open(path, "r:") as archive:
            names = {archive.next().name for _ in range(3)}  # pyrefly: ignore[missing-attribute]
    except (tarfile.TarError, OSError, ValueError, AttributeError):
        names = set()
    old = names & {"storages", "tensors", "pickle", "sys_info"}
    return "a torch file of before 2017 (tar)" if old else "a tar archive"


def _is_safetensors(head: bytes, size: int) -> bool:
    if len(head) < 9 or head[8:9] != b"{":
        return False
    return int.from_bytes(head[:8], "little") <= min(size, _LONGEST_HEADER)


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the model inside its wrappers, whatever their order.

    `_orig_mod.`, `_fsdp_wrapped_module.`, `_checkpoint_wrapped_module.` and `_forward_module.` go wherever
    they stand. `module.` goes where every name passes through it, of all or of those that begin alike.
    Counters of an averaged model (`n_averaged` …) go with the `module.` beside them.

    Raises:
        ModelError: When some names have `module.` and others have not, or two become one.
    """
    names = {name: tuple(part for part in name.split(".") if part not in _WRAPPERS) for name in state}
    if any(parts[:1] == (_MODULE,) for parts in names.values()):
        counted = [name for name in names if name in _COUNTERS and state[name].ndim == 0]
        names = {name: parts for name, parts in names.items() if name not in counted}
    while names:
        through, around = _parents(names.values())
        if () in through & around:
            first = {parts[0] == _MODULE: name for name, parts in names.items() if parts}
            raise ModelError(
                f"Some weights begin with module. and others do not ({first[True]}, {first[False]}), "
                "so whose they are cannot be seen.",
                "Name the beginnings of those that are no part of the model under ignore_keys: in the YAML.",
            )
        if not (wrapped := through - around):
            break
        names = {name: _without(parts, wrapped) for name, parts in names.items()}
    return _renamed(state, {name: ".".join(parts) for name, parts in names.items()})


def forms(state: Mapping[str, Tensor]) -> Iterator[tuple[dict[str, Tensor], str]]:
    """A state dict, then without the first part that all its names share (Lightning's `model.`), and so on.

    Yields:
        The state dict, and the beginning that its names have lost.
    """
    lost = ""
    plain = dict(state)
    while True:
        yield plain, lost
        firsts = {name.partition(".")[0] for name in plain}
        if len(firsts) != 1 or not all("." in name for name in plain):
            return
        first = firsts.pop()
        lost += f"{first}."
        plain = {name[len(first) + 1 :]: value for name, value in plain.items()}


def same_names(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    """Whether two state dicts have the same names but for wrappers, a common beginning and counters."""
    return _bare(one) == _bare(other)


def _bare(state: Mapping[Any, Any]) -> set[str]:
    named = {str(name): value for name, value in state.items() if not isinstance(value, Tensor) or value.ndim}
    try:
        *_, (plain, _) = forms(unwrapped(named))
    except ModelError:
        return set(named)
    return set(plain)


def _parents(names: Any) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """Beginnings that go on with `module`, and beginnings that go on with something else."""
    through: set[tuple[str, ...]] = set()
    around: set[tuple[str, ...]] = set()
    for parts in names:
        for at, part in enumerate(parts):
            (through if part == _MODULE else around).add(parts[:at])
    return through, around


def _without(parts: tuple[str, ...], wrapped: set[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(part for at, part in enumerate(parts) if part != _MODULE or parts[:at] not in wrapped)


def _renamed(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    plain: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, new in names.items():
        if new in plain:
            raise ModelError(
                f"Two weights have one name without what wrappers put into it: {origin[new]} and {name}.",
                "Save the state dict of the model that was trained, without its wrapped copy.",
            )
        plain[new], origin[new] = state[name], name
    return plain
