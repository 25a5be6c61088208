"""Plain weights of a state dict in which adapters or factors stand beside the weights they change."""

import re

import torch

from xai.core import ModelError
from xai.models.checkpoint import State
from xai.models.tensors import some

_PEFT = "base_model.model."
_TUNED = ".ln_tuning_layers."
# parameters of PEFT's other tuners
_ADAPTER = re.compile(
    r"(^|\.)((lora|lokr|hada|oft|boft|vera|vblora|ia3|hra|fourierft|randlora|shira|bone|miss|road|poly)_"
    r"|modules_to_save\.|trainable_tokens_|prompt_embeddings$|prompt_encoder\.)"
)
# kept by some residual-SVD code for its training losses; no part of the forward pass
_SVD_UNUSED = ("U_r", "S_r", "V_r", "weight_original_fnorm", "weight_main_fnorm")


def fold(state: State) -> tuple[State, list[str]]:
    """Plain weights of a state dict with PEFT LN-tuning or residual-SVD linears.

    LN-tuning replaces a layer norm by its tuned copy. A residual-SVD linear (Effort, arXiv 2411.15633)
    has the weight `weight_main + U_residual · diag(S_residual) · V_residual`.

    Returns:
        The folded state and what was folded, of "peft", "ln_tuning", "residual_svd".

    Raises:
        ModelError: When another adapter is found, or several LN-tuning adapters, or an SVD factor is missing.
    """
    folded: list[str] = []
    if any(_PEFT in key for key in state):
        folded.append("peft")
        state = {key.replace(_PEFT, "", 1): value for key, value in state.items()}
    if foreign := [key for key in state if _ADAPTER.search(key)]:
        alone = len(foreign) == len(state)
        raise ModelError(
            f"The checkpoint holds adapters that are not folded here: {some(foreign)}"
            f"{' — and nothing else: the model that they adapt is missing' if alone else ''}.",
            "Merge them into their model first (peft: PeftModel.from_pretrained(model, folder)"
            ".merge_and_unload()) and save the merged weights.",
        )
    if any(_TUNED in key for key in state):
        folded.append("ln_tuning")
        state = _fold_layer_norms(state)
    if any(key.endswith(".weight_main") for key in state):
        folded.append("residual_svd")
        state = _fold_svd(state)
    return state, folded


def _fold_layer_norms(state: State) -> State:
    plain: State = {}
    for key, value in state.items():
        if _TUNED in key:
            module, _, rest = key.partition(_TUNED)  # rest: "<adapter>.weight"
            target = f"{module}.{rest.rpartition('.')[2]}"
            if target in plain:
                raise ModelError(
                    f"Several LN-tuning adapters at {module}; which one is in use cannot be seen.",
                    "Save the checkpoint with the active adapter only.",
                )
            plain[target] = value
    for key, value in state.items():
        if _TUNED not in key:
            plain.setdefault(key.replace(".base_layer.", "."), value)
    return plain


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
