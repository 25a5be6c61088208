"""Whether a module's weights are ones that can be explained: there, whole, floating-point, finite."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from xai.core import ModelError
from xai.models.tensors import floating_types, some

# where the libraries that quantise keep their layers and tensors
_QUANTISERS = (
    "torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.sparse.quantized",
    "torch.nn.quantized", "torchao.", "bitsandbytes.", "auto_gptq.", "gptqmodel.", "awq.", "optimum.quanto",
    "hqq.", "eetq.", "fbgemm_gpu.", "compressed_tensors.", "aqlm.",
)  # fmt: skip
_QUANTISED_CLASSES = ("Int8Params", "Params4bit", "AffineQuantizedTensor", "QTensor", "WeightQBytesTensor")
_FLOAT8 = "float8"


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
