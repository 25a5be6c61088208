"""Reading a weights file, never its code: what `torch.save` or safetensors put into it."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from xai.core import ModelError
from xai.models.file_kinds import foreign, kind_of, tar_kind, unpacked_size, zip_kind

AGAIN = "The download may be incomplete: fetch it again and compare its size."
_EXPECTED = "Expected .safetensors, or what torch.save writes (.pth, .pt, .ckpt, .bin, .pth.tar …)."
_SAVE = "torch.save(model.state_dict(), path), or safetensors."
_MAX_INFLATION = 20  # torch.save does not compress; beyond this a small file would fill the memory
_MAX_INDEX = 100_000_000  # bytes


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
        said = "an adapter's configuration" if path.name == "adapter_config.json" else "JSON"
        raise _named(path, said, f"Give the weights beside it. {_EXPECTED}") from None
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
