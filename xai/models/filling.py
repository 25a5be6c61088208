"""Weights of a checkpoint into a module of the user's own."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from xai.core import ModelError
from xai.models.checkpoint import State, open_checkpoint
from xai.models.detector import DetectorConfig
from xai.models.state_dict import forms, unwrapped


def fill(module: nn.Module, weights: Path, config: DetectorConfig) -> dict[str, Any]:
    """Load a checkpoint into a module, all of it.

    Names are taken as they are where they are the module's own; else without what wrappers and training
    loops put before them.

    Returns:
        What was chosen of the checkpoint, for `Classifier.describe`.

    Raises:
        ModelError: When the weights are broken, or their names, shapes or kinds are not the module's.
    """
    own: dict[str, Any] = module.state_dict()
    checkpoint = open_checkpoint(weights, config.weights_key, config.ignore_keys, own)
    state = _renamed(checkpoint.state, own)
    for key, tensor in state.items():
        mine = own.get(key)
        if isinstance(mine, Tensor) and _kind(mine) != _kind(tensor):
            raise ModelError(
                f"{weights} does not fit {config.factory}: {key[:120]} is {tensor.dtype}, not {mine.dtype}.",
                "Copying would round it. If the weights are quantised, give those that they were made from.",
            )
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{weights} does not fit {config.factory}: {error}") from None
    return checkpoint.facts


def _renamed(state: State, own: dict[str, Any]) -> State:
    for names in (dict, unwrapped):
        for inner, _ in forms(names(state)):
            if inner.keys() == own.keys():
                return inner
    return unwrapped(state)


def _kind(tensor: Tensor) -> str:
    if tensor.is_complex():
        return "complex"
    return "floating" if tensor.is_floating_point() else "integer"
