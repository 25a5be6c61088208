"""Reading weights files, never code: one state dict with plain keys, or one clear error."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from xai.core import ModelError

State = dict[str, Tensor]

_PICKLED = (".pth", ".pt", ".ckpt", ".bin")
_WRAPPERS = ("state_dict", "model", "net")


def read_checkpoint(path: Path) -> State:
    """Read a `.safetensors`, `.pth`, `.pt`, `.ckpt` or `.bin` file into a state dict on the CPU.

    A state dict under `state_dict`, `model` or `net` is taken out, the `module.` that DataParallel puts
    before every key is dropped.

    Raises:
        ModelError: When the file is missing, truncated, of another type, or holds code.
    """
    if not path.is_file():
        raise ModelError(f"There is no weights file {path}.", "Give the checkpoint with weights=/--weights.")
    if path.suffix == ".safetensors":
        try:
            return _plain(load_file(path))
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} is no readable safetensors file: {error}.", _AGAIN) from None
    if path.suffix not in _PICKLED:
        raise ModelError(f"{path} is no weights file.", f"Expected .safetensors, {', '.join(_PICKLED)}.")
    return _plain(_unwrap(_read_pickled(path), path))


_AGAIN = "The download may be incomplete: fetch it again and compare its size."


def _read_pickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        with path.open("rb") as file:
            is_pickle = file.read(2)[:1] in (b"P", b"\x80")  # zip archive or bare pickle
        if not is_pickle:
            raise ModelError(f"{path} is no weights file.", _AGAIN) from None
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise ModelError(
            f"{path} was refused: it holds more than tensors{f' ({refused[1]})' if refused else ''}, "
            "and reading that would run its code.",
            "Where you trust the file, load it once and save its tensors alone: "
            "torch.save(model.state_dict(), path), or safetensors.",
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError):
        raise ModelError(f"{path} is truncated or no weights file.", _AGAIN) from None


def _unwrap(content: Any, path: Path) -> Mapping[str, Any]:
    for _ in range(2):  # a Lightning checkpoint may wrap a wrapped one
        inner = next((content[k] for k in _WRAPPERS if isinstance(content, Mapping) and k in content), None)
        if not isinstance(inner, Mapping):
            break
        content = inner
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path} holds no state dict but {type(content).__name__}.")
    other = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if other:
        raise ModelError(
            f"{path} holds entries that are no tensors: {', '.join(other[:5])}.",
            f"Expected a state dict, alone or under one of {', '.join(_WRAPPERS)}.",
        )
    return content


def _plain(state: Mapping[str, Tensor]) -> State:
    prefix = "module."
    if all(key.startswith(prefix) for key in state):
        return {key.removeprefix(prefix): value for key, value in state.items()}
    return dict(state)
