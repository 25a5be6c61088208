"""A module of the user's own: imported and called for a YAML file, and filled with a checkpoint."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from xai.core import ConfigError, ModelError, UsageError, import_object
from xai.models.adapters import fold_adapters, holds_adapters, without_prefix
from xai.models.checkpoint import State, open_checkpoint
from xai.models.detector import DetectorConfig
from xai.models.families import with_adapter
from xai.models.state_dict import forms, unwrapped

_LONGEST = 200  # characters of a factory's arguments in a message


def refuse_untrusted(config: DetectorConfig, path: Path) -> None:
    """Say what a YAML file wants to run, where the one who loads it does not trust that code.

    Raises:
        ConfigError: Always.
    """
    arguments = ", ".join(f"{key}={value!r}" for key, value in config.kwargs.items())
    if len(arguments) > _LONGEST:
        arguments = f"{arguments[:_LONGEST]}…"
    module = str(config.factory).partition(":")[0]
    raise ConfigError(
        f"{path} wants to import {module} and run {config.factory}({arguments}), code that can do "
        "anything on this machine; nothing was run.",
        "If you trust the file and that code: --trust-code, or trust_code=True in Python.",
    )


def make_module(config: DetectorConfig, folder: Path) -> nn.Module:
    """Import and call the user's class, which may lie beside the YAML file; in eval mode.

    Raises:
        ConfigError: It cannot be imported or called, or makes no torch module.
    """
    try:
        factory = import_object(str(config.factory), folder)
    except UsageError as error:
        raise ConfigError(f"factory: {error.message}", error.hint) from error
    try:
        module = factory(**config.kwargs)
    except TypeError as error:
        raise ConfigError(f"factory: {config.factory} cannot be called with kwargs: {error}.") from error
    except (Exception, SystemExit) as error:  # of code that is not ours
        raise ConfigError(f"factory: {config.factory} failed: {type(error).__name__}: {error}.") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"factory: {config.factory} made {type(module).__name__}, not a torch module.")
    return module.eval()


def fill(module: nn.Module, weights: Path, config: DetectorConfig) -> dict[str, object]:
    """Load a checkpoint into a module, all of it.

    Names are taken as they are where they are the module's own; else without what wrappers and training
    loops put before them. Adapters that are not the module's own are folded.

    Returns:
        What was chosen of the checkpoint, for `Classifier.describe`.

    Raises:
        ModelError: When the weights are broken, or their names, shapes or kinds are not the module's.
    """
    own: dict[str, Tensor] = module.state_dict()
    checkpoint = open_checkpoint(weights, config.weights_key, config.ignore_keys, own)
    state, notes = _without_adapters(_renamed(checkpoint.state, own), module, own, config)
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
    return {**checkpoint.description, **notes}


def _without_adapters(
    state: State, module: nn.Module, own: State, config: DetectorConfig
) -> tuple[State, dict[str, object]]:
    """Weights by the module's names, and what of adapters was folded into them."""
    plain = state if state.keys() == own.keys() else without_prefix(state)
    both, settings = with_adapter(plain, config.adapter)
    if both.keys() == own.keys() or not holds_adapters(both):
        return state, {}
    folded = fold_adapters(both, settings, module)
    return _renamed(folded.state, own), {"folded": folded.kinds, **folded.notes}


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
