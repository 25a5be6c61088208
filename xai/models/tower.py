"""What a tower's weights say of it by their shapes, and what they cannot say."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.core import ConfigError, ModelError, nearest
from xai.models.checkpoint import State

_HEAD_WIDTH = 64  # of every published CLIP, DINOv2 and DINOv3
_MOST_KEYS = 20  # keys in one message
_COUNTER = "num_batches_tracked"


class QuickGELUActivation(nn.Module):
    """x · sigmoid(1.702 x), as the published CLIP models have it."""

    def forward(self, x: Tensor) -> Tensor:
        """The same, elementwise."""
        return x * (1.702 * x).sigmoid()


class GELUActivation(nn.Module):
    """x · Φ(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """The same, elementwise."""
        return F.gelu(x)


ACTIVATIONS: Mapping[str, type[nn.Module]] = {"quick_gelu": QuickGELUActivation, "gelu": GELUActivation}
"""By the names of transformers, which knows more of them."""


class FeatureMapOutput(NamedTuple):
    """The last feature map (B, width, h, w) of a convolutional network; its mean over places (B, width)."""

    last_hidden_state: Tensor
    pooler_output: Tensor


@dataclass(frozen=True)
class TowerOptions:
    """What shapes cannot say.

    Args:
        num_attention_heads: None for width / 64.
        hidden_act: None for the family's own (CLIP: quick_gelu).

    Raises:
        ConfigError: When transformers knows no such activation.
    """

    num_attention_heads: int | None = None
    hidden_act: str | None = None

    def __post_init__(self) -> None:
        if self.hidden_act is not None:
            activation(self.hidden_act)


def activation(name: str) -> nn.Module:
    """An activation function by its name in transformers, which is imported for the rarer ones only.

    Raises:
        ConfigError: There is none of that name.
    """
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]()
    from transformers.activations import ACT2FN

    if name not in ACT2FN:
        raise ConfigError(f"Unknown hidden_act {name!r}.", nearest(name, ACT2FN))
    return ACT2FN[name]


def widths_of(state: State, width: int, options: TowerOptions) -> dict[str, Any]:
    """Widths and heads of a CLIP tower, by the names of its configuration."""
    return {
        "hidden_size": width,
        "intermediate_size": shape_of(state, ".0.mlp.fc1.weight")[0],
        "num_attention_heads": heads_of(width, options),
    }


def heads_of(width: int, options: TowerOptions) -> int:
    """How many attention heads there are.

    Raises:
        ModelError: They cannot be known, or do not divide the width.
    """
    if options.num_attention_heads is not None:
        heads = options.num_attention_heads
    elif width % _HEAD_WIDTH == 0:
        heads = width // _HEAD_WIDTH
    else:
        raise ModelError(
            f"The number of attention heads is not in the weights, and width {width} is no multiple of 64.",
            "Say it in the YAML: num_attention_heads: N.",
        )
    if not heads or width % heads:
        raise ModelError(f"{heads} attention heads do not divide the width {width}.")
    return heads


def layers_of(state: State) -> int:
    """How many layers are there; a number that is absurd would otherwise build as many."""
    found = {match[1] for key in state if (match := re.search(r"(?:layers?|blocks)\.(\d+)\.", key))}
    if found != {str(number) for number in range(len(found))} or not found:
        ordered = sorted(found, key=lambda number: (len(number), number))
        ends = [*ordered[:3], *(ordered[3:])[-2:]]
        listed = ", ".join(number[:20] for number in ends) or "not at all"
        raise ModelError(
            f"The tower's {len(found)} layers are numbered {listed}; expected 0, 1, 2 … without a gap.",
            "The checkpoint is incomplete or broken; use another one.",
        )
    return len(found)


def side_of(positions: int) -> int:
    """Rows, and columns, of the square grid that so many position embeddings make."""
    side = math.isqrt(max(positions, 0))
    if not side or side * side != positions:
        raise ModelError(f"{positions} position embeddings are no square grid.")
    return side


def shape_of(state: State, ending: str, ndim: int = 2) -> tuple[int, ...]:
    """Shape of the tensor of that name, else of the first whose name ends so.

    Raises:
        ModelError: There is none, or it has another number of dimensions.
    """
    tensor: Tensor | None = state.get(ending, next((v for k, v in state.items() if k.endswith(ending)), None))
    if tensor is None:
        raise ModelError(f"The tower lacks …{ending}.", "The checkpoint is incomplete.")
    if tensor.ndim != ndim:
        raise ModelError(
            f"The tower's …{ending} has the shape {tuple(tensor.shape)}; expected {ndim} dimensions.",
            "The checkpoint is broken; use another one.",
        )
    return tuple(tensor.shape)


def patch_of(state: State, ending: str) -> tuple[int, int]:
    """Width and patch size, from the kernel (width, 3, patch, patch) that embeds the patches."""
    width, channels, patch, across = shape_of(state, ending, 4)
    if channels != 3 or patch != across or not width or not patch:
        raise ModelError(
            f"The tower's …{ending} has the shape {(width, channels, patch, across)}; "
            "expected (width, 3, patch, patch).",
            "Towers for three colour channels and square patches are rebuilt here.",
        )
    return width, patch


Built = TypeVar("Built", bound=nn.Module)


def filled(model: Built, state: State, name: str, before: str = "") -> Built:
    """A model without data (meta), given these weights, all of them and in their type; in eval mode.

    Args:
        model: It.
        state: Weights.
        name: What the model is called in a message, with its article.
        before: What stands before the model's own names.

    Raises:
        ModelError: When keys are missing, left over or of the wrong shape.
    """
    expected = {before + key: tensor for key, tensor in model.state_dict().items()}
    # batch norms count batches only since torch 0.4.1, and count nothing in evaluation
    counters = {
        key: torch.zeros_like(t, device="cpu") for key, t in expected.items() if key.endswith(_COUNTER)
    }
    state = {**counters, **state}
    found = {
        "missing_keys": sorted(expected.keys() - state.keys()),
        "unexpected_keys": sorted(state.keys() - expected.keys()),
        "mismatched_keys": [
            (key, state[key].shape, tensor.shape)
            for key, tensor in expected.items()
            if key in state and state[key].shape != tensor.shape
        ],
    }
    if problems := loading_problems(found, "missing", "unexpected", "mismatched"):
        raise ModelError(f"The weights do not fit {name}: {problems}.")
    weights = {key.removeprefix(before): state[key].contiguous() for key in expected}
    model.load_state_dict(weights, assign=True)
    return model.eval()


def loading_problems(info: Mapping[str, Sequence[Any]], *kinds: str) -> str:
    """What was wrong when weights were loaded, for a message; "" if nothing of these kinds.

    Args:
        info: As transformers reports it: names under `missing_keys` and `unexpected_keys`; names with the
            shape found and the shape expected under `mismatched_keys`.
        kinds: Of "missing", "unexpected", "mismatched".
    """
    problems = []
    for kind in kinds:
        keys = sorted(
            f"{key[0]} {tuple(key[1])} instead of {tuple(key[2])}" if isinstance(key, tuple) else str(key)
            for key in info[f"{kind}_keys"]
        )
        if keys:
            more = f" and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
            problems.append(f"{kind}: {', '.join(keys[:_MOST_KEYS])}{more}")
    return "; ".join(problems)
