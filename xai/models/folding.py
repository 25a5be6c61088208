"""Plain weights of a state dict in which adapters or factors stand beside the weights they change."""

from pathlib import Path

import torch

from xai.core import ModelError
from xai.models.adapter_settings import AdapterSettings, read_settings
from xai.models.adapters import Folded, fold_adapters, holds_adapters, without_prefix
from xai.models.checkpoint import State

# kept by some residual-SVD code for its training losses; no part of the forward pass
_SVD_UNUSED = ("U_r", "S_r", "V_r", "weight_original_fnorm", "weight_main_fnorm")


def fold(state: State, settings: AdapterSettings | None = None) -> Folded:
    """Plain weights of a state dict with PEFT adapters or residual-SVD linears.

    A residual-SVD linear (Effort, arXiv 2411.15633) has the weight
    `weight_main + U_residual · diag(S_residual) · V_residual`; for adapters see `fold_adapters`.

    Returns:
        The plain weights, and what was folded: "peft" for the names of its wrappers, the kinds of
        `fold_adapters`, "residual_svd".

    Raises:
        ConfigError: When the settings lack what an adapter's weights do not say.
        ModelError: When an adapter is not of a kind that is folded, or an SVD factor is missing.
    """
    plain = without_prefix(state)
    folded = Folded(plain, [] if plain.keys() == state.keys() else ["peft"])
    if holds_adapters(plain):
        adapters = fold_adapters(plain, settings)
        folded = Folded(adapters.state, folded.kinds + adapters.kinds, adapters.notes)
    if any(key.endswith(".weight_main") for key in folded.state):
        folded.kinds.append("residual_svd")
        folded.state = _fold_svd(folded.state)
    return folded


def _fold_svd(state: State) -> State:
    plain = dict(state)
    for key in [k for k in state if k.endswith(".weight_main")]:
        module = key.removesuffix("weight_main")
        weight = plain.pop(key)
        factors = [plain.pop(f"{module}{name}_residual", None) for name in "USV"]
        left, singular, right = factors
        if left is not None and singular is not None and right is not None:
            # summed in float64: the fold must not cost accuracy that the parts had
            residual = left.double() @ torch.diag(singular.double()) @ right.double()
            weight = (weight.double() + residual).to(weight.dtype)
        elif any(factor is not None for factor in factors):
            raise ModelError(f"{module[:-1]} lacks one of U_residual, S_residual, V_residual.")
        plain[f"{module}weight"] = weight
        for name in _SVD_UNUSED:
            plain.pop(f"{module}{name}", None)
    return plain


def with_adapter(
    state: State, adapter: AdapterSettings | Path | None
) -> tuple[State, AdapterSettings | None]:
    """The weights and what they do not say of their adapters, as a detector's YAML names both.

    Args:
        state: Weights.
        adapter: Settings, or an `adapter_config.json` of adapters among the weights; or the folder of an
            adapter that goes on them.

    Raises:
        ModelError: When a file is missing or broken, or an adapter is not one of these weights.
    """
    if not isinstance(adapter, Path):
        return state, adapter
    # which import transformers, and that takes seconds
    from xai.models.adapter_folder import read_adapter
    from xai.models.folder import ADAPTER, read_json

    if adapter.is_dir():
        return read_adapter(adapter / ADAPTER).on_weights(state)
    return state, read_settings(read_json(adapter), str(adapter), on_base=False)
