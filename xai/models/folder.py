"""Hugging Face folders before transformers loads them: adapters, quantised weights, broken files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.utils.hub import cached_file

from xai.core import ModelError
from xai.models.pretrained import from_hub

_LARGEST = 5_000_000  # bytes of config.json; the largest have some 100 kB of class names
_DEEPEST_MODEL = 1000  # layers
_MOST_CLASSES = 1_000_000  # transformers makes a name for each
_COUNTS = {
    "hidden_size", "image_size", "intermediate_size", "num_attention_heads", "num_channels",
    "num_hidden_layers", "patch_size",
}  # fmt: skip
_LAYERS = re.compile(r"(^|_)(n_|num_)?(layers?|blocks)$|^depths?$")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
ADAPTER = "adapter_config.json"


def read_config(place: str) -> dict[str, Any]:
    """The keys of a model's `config.json`, after all that can be seen without loading it.

    Args:
        place: Folder or hub name.

    Raises:
        AdapterAloneError: It is an adapter without its base.
        ModelError: When there is none; for an adapter beside a model (transformers puts it on top where PEFT
            is installed); quantised weights; a `config.json` that is broken or has absurd numbers; a missing
            shard.
    """
    is_folder = Path(place).is_dir()
    if is_folder:
        _check_folder(place)
    raw, _ = from_hub(PreTrainedConfig.get_config_dict, place)
    if not is_folder and (adapter := hub_file(place, ADAPTER)):
        raise _adapter(place, adapter, beside=bool(raw))  # {} where the repository has no config.json
    check_config(raw, place)
    return raw


def hub_file(place: str, name: str) -> Path | None:
    """A file of a repository on the hub, None where it has none of that name or cannot be asked."""
    try:
        found = cached_file(
            place,
            name,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    except (OSError, ValueError):  # loading says what is wrong with the name
        return None
    return Path(found) if found else None


def _check_folder(place: str) -> None:
    folder = Path(place)
    if (adapter := folder / ADAPTER).is_file():
        raise _adapter(place, adapter, beside=(folder / "config.json").is_file())
    if not (folder / "config.json").is_file():
        below = sorted(folder.glob(f"*/{ADAPTER}")) or sorted(folder.glob("*/config.json"))
        hint = (
            f"Did you mean local:{below[0].parent}?" if below else "Give a folder that save_pretrained wrote."
        )
        raise ModelError(
            f"{place} cannot be loaded: it holds no config.json, so what model it is cannot be seen.", hint
        )
    read_json(folder / "config.json")
    _check_shards(folder)


def check_config(config: dict[str, Any], place: str) -> None:
    """Refuse a configuration of quantised weights, or with absurd numbers.

    Raises:
        ModelError: Naming the method or the key.
    """
    if quantised := config.get("quantization_config"):
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise ModelError(
            f"{place} holds quantised weights ({method or 'of an unknown method'}); "
            "no gradient flows through them.",
            "Give the floating-point model that it was made from, or model.dequantize() and save_pretrained.",
        )
    for key, value in _numbers(config):
        deep = _LAYERS.search(key) and value > _DEEPEST_MODEL
        many = key == "num_labels" and value > _MOST_CLASSES
        if deep or many or value != value or (key in _COUNTS and value < 1):
            raise ModelError(
                f"{place}/config.json says {key}: {str(value)[:20]}; no model has that.",
                "The file is broken, or not this model's.",
            )
    names = config.get("architectures")
    if not (names is None or (isinstance(names, list) and all(isinstance(one, str) for one in names))):
        raise ModelError(
            f"{place}/config.json says architectures: {str(names)[:80]}; expected a list of class names.",
            'Such as ["CLIPForImageClassification"].',
        )


def weights_size(place: str) -> int | None:
    """Bytes of the weights files in a folder; None for a hub name."""
    folder = Path(place)
    if not folder.is_dir():
        return None
    files = (file for ending in ("*.safetensors", "*.bin") for file in folder.glob(ending))
    return sum(file.stat().st_size for file in files if file.is_file())  # a link may lead nowhere


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object in a file.

    Raises:
        ModelError: When the file is too large, no JSON, too deeply nested, or holds something else.
    """
    way = "Fetch it again, or save the model anew with save_pretrained."
    if path.stat().st_size > _LARGEST:
        raise ModelError(f"{path} has {path.stat().st_size} bytes; that is no configuration.", way)
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is no JSON: {str(error)[:200]}.", way) from None
    except RecursionError:
        raise ModelError(f"{path} is nested too deeply.", way) from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}; expected an object with keys.", way)
    return content


def _adapter(place: str, path: Path, beside: bool) -> ModelError:
    config = read_json(path)
    kind = str(config.get("peft_type") or "unknown type")[:40]
    base = str(config.get("base_model_name_or_path") or "a model that it does not name")[:200]
    if not beside:
        return AdapterAloneError(f"{place} holds an adapter alone ({kind}), trained on {base}.", path)
    return ModelError(
        f"{place} holds a model and a {kind} adapter beside it; which of the two is meant cannot be seen "
        "(transformers puts the adapter on top where PEFT is installed).",
        "For both, put the adapter into a folder of its own, whose adapter_config.json names the model as "
        f"base_model_name_or_path; for the model without it, move {ADAPTER} away.",
    )


class AdapterAloneError(ModelError):
    """Where a model was looked for lies an adapter without its base.

    Args:
        message: What was found.
        path: Its `adapter_config.json`.
    """

    def __init__(self, message: str, path: Path):
        super().__init__(message, "Give the model that it was trained on.")
        self.path = path

    def __reduce__(self) -> Any:
        return type(self), (self.message, self.path)


def _check_shards(folder: Path) -> None:
    for index in (folder / name for name in _INDEXES):
        if not index.is_file():
            continue
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise ModelError(f"{index} has no weight_map of names and files.", "Fetch it again.")
        if lacking := [name for name in sorted(set(shards.values())) if not (folder / name).is_file()]:
            raise ModelError(
                f"{folder} lacks {len(lacking)} of the shards that {index.name} names: "
                f"{', '.join(lacking[:5])}.",
                "The download may be incomplete: fetch it again.",
            )


def _numbers(config: Any, key: str = "", depth: int = 20) -> Iterator[tuple[str, int | float]]:
    if isinstance(config, dict) and depth:
        for inner, value in config.items():
            yield from _numbers(value, str(inner), depth - 1)
    elif isinstance(config, list) and depth:
        for value in config:
            yield from _numbers(value, key, depth - 1)
    elif isinstance(config, int | float) and not isinstance(config, bool):
        yield key, config
