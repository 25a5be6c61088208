"""The identity of a model: equal for equal weights, configuration and structure, wherever it was loaded."""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from xai.models.module_weights import compact

# of a configuration: where it lay and what wrote it
_NO_PART_OF_THE_MODEL = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"}
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def fingerprint(module: nn.Module, config: Mapping[str, Any], *said: object) -> str:
    """sha256 (hex) of a module's weights, structure and configuration, and of what else is said of it."""
    config = {key: value for key, value in config.items() if key not in _NO_PART_OF_THE_MODEL}
    structure = _ADDRESS.sub("", repr(module))  # what weights do not show: activations, normalisation
    digest = sha256(repr((said, config, structure)).encode())
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
