"""Tensors of a checkpoint: which can be weights, and in which one floating-point type they run."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from xai.core import ModelError

_NATIVE = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
_DEQUANTISE = (
    "Give the floating-point weights that it was quantised from, or model.dequantize() them and save."
)
# what bitsandbytes, GPTQ, AWQ and compressed-tensors put beside or instead of a weight
_QUANTISED_NAMES = (
    "qweight", "qzeros", "SCB", "weight_format", "absmax", "quant_map", "nested_absmax", "weight_packed",
    "_packed_params",
)  # fmt: skip
_COUNTERS = ("position_ids", "num_batches_tracked")
_SLACK = 64 * 2**20  # bytes


def check_tensors(state: Mapping[Any, Any], source: str) -> None:
    """Refuse what is no ordinary tensor under a name, before anything is computed with it.

    Raises:
        ModelError: A key is no string, a value is no tensor, or a tensor is quantised, sparse, nested,
            without data (meta), of 8-bit floating point, or declares more numbers than the file holds.
    """
    if strange := [repr(key)[:80] for key in state if not isinstance(key, str)]:
        raise ModelError(
            f"{source} holds keys that are no strings: {', '.join(strange[:5])}.",
            "Expected a state dict: names of weights and their tensors.",
        )
    if quantised := [
        key for key in state if key.rpartition(".")[2] in _QUANTISED_NAMES or ".quant_state." in key
    ]:
        raise ModelError(f"{source} holds quantised weights: {some(quantised)}.", _DEQUANTISE)
    if other := [key for key, value in state.items() if not isinstance(value, Tensor)]:
        raise ModelError(
            f"{source} holds entries that are no tensors: {', '.join(other[:5])}.",
            "Expected a state dict, alone or under a name such as state_dict, model_state_dict or model.",
        )
    faults = {key: what for key, value in state.items() if (what := _fault(value))}
    for what, way in _FAULTS:
        if found := [key for key in faults if faults[key] == what]:
            raise ModelError(f"{source} holds {what}: {some(found)}.", way)
    _check_size(state, source)


_FAULTS = (
    ("quantised tensors", _DEQUANTISE),
    ("sparse tensors", "Save them dense: tensor.to_dense()."),
    ("nested tensors", "Save ordinary tensors."),
    ("tensors without data (meta)", "Load the model whole before its state dict is saved."),
    ("tensors of a class of their own", "Save ordinary tensors."),
    (
        "8-bit floating-point tensors, whose scales cannot be known",
        "Give the weights that they were quantised from, in bfloat16 or float32.",
    ),
)


def _fault(tensor: Tensor) -> str:
    """What of _FAULTS a tensor is, "" for an ordinary one."""
    if tensor.is_nested:
        return "nested tensors"
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        return "tensors of a class of their own"
    if tensor.is_quantized:
        return "quantised tensors"
    if tensor.layout != torch.strided:
        return "sparse tensors"
    if tensor.is_meta:
        return "tensors without data (meta)"
    if tensor.is_floating_point() and tensor.dtype not in _NATIVE:
        return "8-bit floating-point tensors, whose scales cannot be known"
    return ""


def check_floating(state: Mapping[str, Tensor]) -> None:
    """Refuse integer, boolean and complex tensors other than the counters that layers keep.

    Raises:
        ModelError: Naming them; they may be quantised.
    """
    other = [key for key, value in state.items() if not value.is_floating_point()]
    if found := [key for key in other if not key.endswith(_COUNTERS)]:
        types = ", ".join(sorted({_name(state[key].dtype) for key in found}))
        raise ModelError(
            f"The checkpoint holds weights that are no floating-point numbers ({types}): {some(found)}.",
            f"Integers may be quantised weights. {_DEQUANTISE}",
        )


def _check_size(state: Mapping[str, Tensor], source: str) -> None:
    """A view may declare any shape over one number (stride 0); computing with it would fill the memory."""
    declared = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in state.values()}
    if declared > 4 * sum(storages.values()) + _SLACK:
        largest = max(state, key=lambda key: state[key].numel())
        raise ModelError(
            f"{source} declares more numbers than it holds: {largest} {tuple(state[largest].shape)}.",
            "Give a checkpoint whose tensors are no expanded views: tensor.contiguous() before saving.",
        )


def floating_types(tensors: Iterable[Tensor]) -> dict[str, int]:
    """How many tensors of each floating-point type there are, the most frequent first."""
    counted = Counter(_name(tensor.dtype) for tensor in tensors if tensor.is_floating_point())
    return dict(counted.most_common())


def in_one_type(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All floating-point tensors in the narrowest type that holds each of theirs (half + float: float)."""
    types = {tensor.dtype for tensor in state.values() if tensor.is_floating_point()}
    if len(types) < 2:
        return dict(state)
    widest = torch.bfloat16 if torch.bfloat16 in types else torch.float16
    for one in types:
        widest = torch.promote_types(widest, one)
    return {key: value.to(widest) if value.is_floating_point() else value for key, value in state.items()}


def some(keys: list[str]) -> str:
    """The first keys and how many more there are, for a message."""
    shown = ", ".join(key[:120] for key in sorted(keys)[:5])
    return shown + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
