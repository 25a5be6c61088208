"""The identity of a model: equal for equal weights, configuration and structure, wherever it was loaded."""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import torch
from torch import nn

# of a configuration: where it lay and what wrote it
_NO_PART_OF_THE_MODEL = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"}
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def fingerprint(module: nn.Module, config: Mapping[str, Any], *said: object) -> str:
    """sha256 (hex) of a module's weights, structure and configuration, and of what else is said of it."""
    config = {key: value for key, value in config.items() if key not in _NO_PART_OF_THE_MODEL}
    structure = _ADDRESS.sub("", repr(module))  # what weights do not show: activations, normalisation
    digest = sha256(repr((said, config, structure)).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        data: Any = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        digest.update(data)
    return digest.hexdigest()


def weights_version(module: nn.Module) -> list[tuple[int, torch.dtype, int]]:
    """Changes whenever weights are replaced or written to in place."""
    return [
        (tensor.data_ptr(), tensor.dtype, 0 if tensor.is_inference() else tensor._version)
        for tensor in module.state_dict().values()
    ]
