"""Weights that can be explained: which tensors of a checkpoint or a module, in which type; their identity."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

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
# where the libraries that quantise keep their layers and tensors
_QUANTISERS = (
    "torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.sparse.quantized",
    "torch.nn.quantized", "torchao.", "bitsandbytes.", "auto_gptq.", "gptqmodel.", "awq.", "optimum.quanto",
    "hqq.", "eetq.", "fbgemm_gpu.", "compressed_tensors.", "aqlm.",
)  # fmt: skip
_QUANTISED_CLASSES = ("Int8Params", "Params4bit", "AffineQuantizedTensor", "QTensor", "WeightQBytesTensor")
_FLOAT8 = "float8"
# of a configuration: where it lay and what wrote it
_NO_PART_OF_THE_MODEL = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"}
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


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
            f"Integers may be quantised weights. {_DEQUANTISE} If they are none of the model, a metric's "
            "counts for example: ignore_keys: in the YAML names how they begin.",
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
    first = ", ".join(key[:120] for key in sorted(keys)[:5])
    return first + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check_module(module: nn.Module) -> None:
    """Refuse weights that no attribution can be computed with.

    Raises:
        ModelError: When weights are quantised, without data (offloaded), not initialised, spread over several
            devices, or NaN or infinite.
    """
    _refuse_quantised(module)
    tensors = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    if lazy := [name for name, value in tensors.items() if is_lazy(value)]:
        raise ModelError(
            f"{some(lazy)} of {type(module).__name__} have no values yet (lazy modules).",
            "Send one batch through the module, or load its weights, before it is explained.",
        )
    if absent := [name for name, value in (*module.named_parameters(), *tensors.items()) if value.is_meta]:
        raise ModelError(
            f"{type(module).__name__} has weights without data (meta tensors): {some(sorted(set(absent)))}. "
            "They are offloaded, or were never loaded.",
            "Load the model whole: without device_map, cpu_offload, disk_offload or torch.device('meta').",
        )
    devices = sorted({str(parameter.device) for parameter in module.parameters()})
    if len(devices) > 1:
        raise ModelError(
            f"{type(module).__name__} is spread over several devices: {', '.join(devices)}.",
            "Bring it onto one: load it without device_map, or module.to(device).",
        )
    broken = [name for name, value in tensors.items() if not _is_finite(value)]
    if broken:
        raise ModelError(
            f"NaN or infinite weights in {some(broken)}.", "The checkpoint is broken; use another one."
        )


def mixed_types(module: nn.Module) -> dict[str, int]:
    """How many parameters there are of each floating-point type; {} where there is one type."""
    types = floating_types(module.parameters())
    return types if len(types) > 1 else {}


def compact(tensor: Tensor) -> Tensor:
    """The numbers that a view repeats (stride 0), once; sparse tensors: the numbers that are stored."""
    if tensor.layout == torch.sparse_coo:
        return tensor.coalesce().values()
    if tensor.layout != torch.strided:
        return tensor.to_dense()
    steps = zip(tensor.stride(), tensor.shape, strict=True)
    once = tuple(slice(0, 1) if step == 0 and size > 1 else slice(None) for step, size in steps)
    return tensor[once] if tensor.ndim else tensor


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    return bool(torch.isfinite(compact(tensor.detach())).all())


def _refuse_quantised(module: nn.Module) -> None:
    found = []
    for name, inner in module.named_modules():
        if type(inner).__module__.startswith(_QUANTISERS):
            found.append(f"{name} ({type(inner).__name__})")
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor) and _is_quantised(value):
            found.append(f"{name} ({type(value).__name__}, {value.dtype})")
        elif not isinstance(value, Tensor) and "_packed_params" in name:
            found.append(name)
    for name, parameter in module.named_parameters():
        if not (parameter.is_floating_point() or parameter.is_complex()) and parameter.ndim > 1:
            found.append(f"{name} ({parameter.dtype})")
    method = getattr(getattr(module, "quantization_method", None), "value", None)
    if found or method:
        raise ModelError(
            f"{type(module).__name__} has quantised weights{f' ({method})' if method else ''}"
            f"{f': {some(found)}' if found else ''}. No gradient flows through them.",
            "Load the floating-point weights that they were made from, or model.dequantize() where the "
            "library offers it.",
        )


def _is_quantised(value: Any) -> bool:
    kind = type(value)
    return (
        value.is_quantized
        or kind.__module__.startswith(_QUANTISERS)
        or kind.__name__ in _QUANTISED_CLASSES
        or str(value.dtype).removeprefix("torch.").startswith((_FLOAT8, "float4", "uint4", "int4"))
    )


def fingerprint(module: nn.Module, config: Mapping[str, Any], *further: object) -> str:
    """sha256 (hex) of a module's weights, structure and configuration, and of what else is said of it."""
    config = {key: value for key, value in config.items() if key not in _NO_PART_OF_THE_MODEL}
    structure = _ADDRESS.sub("", repr(module))  # what weights do not show: activations, normalisation
    digest = sha256(repr((further, config, structure)).encode())
    for name, tensor in sorted(module.state_dict().items()):
        if not isinstance(tensor, Tensor):  # a layer's extra state
            digest.update(f"{name} {_ADDRESS.sub('', repr(tensor))}".encode())
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        for part in _parts(tensor.detach()):
            flat = part.cpu().contiguous().flatten()
            if flat.stride(0) != 1:  # one number of an expanded view counts as contiguous
                flat = flat.clone(memory_format=torch.contiguous_format)
            data: Any = flat.view(torch.uint8).numpy()
            digest.update(data)
    return digest.hexdigest()


def _parts(tensor: Tensor) -> list[Tensor]:
    """Dense tensors that say what a tensor holds."""
    if tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce()
        return [tensor.indices(), tensor.values()]
    if tensor.layout != torch.strided:
        return [tensor.to_dense()]
    return [compact(tensor).resolve_conj().resolve_neg()]


def weights_version(module: nn.Module) -> list[tuple[int, torch.dtype, int]]:
    """Changes whenever weights are replaced or written to in place."""
    return [
        (
            tensor.data_ptr() if tensor.layout == torch.strided else id(tensor),
            tensor.dtype,
            0 if tensor.is_inference() else tensor._version,
        )
        for tensor in module.state_dict().values()
        if isinstance(tensor, Tensor)
    ]
