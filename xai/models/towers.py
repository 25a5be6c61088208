"""Rebuild a vision tower from its weights alone: the shapes say what the configuration was."""

import math
import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PreTrainedModel,
)
from transformers.activations import ACT2FN

from xai.core import ConfigError, ModelError, nearest
from xai.models.checkpoint import State
from xai.models.folder import read_config
from xai.models.hub import check_numbers, complete_from_hub, from_hub, loading_problems

_HEAD_WIDTH = 64  # of every published CLIP, DINOv2 and DINOv3


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
        if self.hidden_act is not None and self.hidden_act not in ACT2FN:
            raise ConfigError(f"Unknown hidden_act {self.hidden_act!r}.", nearest(self.hidden_act, ACT2FN))


def build_vision_tower(state: State, options: TowerOptions) -> PreTrainedModel:
    """A CLIP, DINOv2 (with or without registers) or DINOv3 tower with these weights, in eval mode.

    Keys may be those of any transformers version.

    Raises:
        ModelError: When it is none of these, or keys are missing, left over or of the wrong shape.
    """
    state = {key: value for key, value in state.items() if not key.endswith("embeddings.position_ids")}
    if "vision_model.embeddings.class_embedding" in state or "embeddings.class_embedding" in state:
        return _build(CLIPVisionModel, read_clip_config(state, options), state)
    if "embeddings.position_embeddings" in state and "embeddings.cls_token" in state:
        return _dinov2(state, options)
    if "embeddings.cls_token" in state and "embeddings.patch_embeddings.weight" in state:
        return _build(DINOv3ViTModel, _dinov3(state, options), state)
    if any(key.startswith("blocks.") for key in state):
        raise ModelError(
            "The tower has timm's keys (blocks.…), as Perception Encoder detectors have.",
            'Load such a detector with factory: "package.module:Class" in the YAML.',
        )
    raise ModelError(
        f"The tower is no CLIP, DINOv2 or DINOv3: its keys begin {', '.join(sorted(state)[:3])}."
    )


def build_text_tower(state: State, options: TowerOptions) -> CLIPTextModel:
    """A CLIP text tower with these weights, in eval mode."""
    state = {key: value for key, value in state.items() if not key.endswith("embeddings.position_ids")}
    tokens = _shape(state, "embeddings.token_embedding.weight")
    config = CLIPTextConfig(
        vocab_size=tokens[0],
        max_position_embeddings=_shape(state, "embeddings.position_embedding.weight")[0],
        num_hidden_layers=_layers(state),
        hidden_act=options.hidden_act or "quick_gelu",
        **_widths(state, tokens[1], options),
    )
    return _build(CLIPTextModel, config, state)


def load_projected_tower(place: str) -> CLIPVisionModelWithProjection:
    """The CLIP tower at "local:DIR" or "hf:ORG/NAME" with its projection, in eval mode."""
    source, _, rest = place.partition(":")
    if source not in ("local", "hf") or not rest:
        raise ConfigError(f"backbone: {place!r} is neither local:DIR nor hf:ORG/NAME.")
    raw = read_config(rest)
    config = from_hub(CLIPVisionConfig.from_pretrained, rest)
    # a whole CLIP says it once for both towers
    config.projection_dim = raw.get("projection_dim", config.projection_dim)
    return complete_from_hub(CLIPVisionModelWithProjection.from_pretrained, rest, config=config)


def read_clip_config(state: State, options: TowerOptions) -> CLIPVisionConfig:
    """The configuration of a CLIP vision tower, read from the shapes of its weights."""
    width, patch = _patch(state, "embeddings.patch_embedding.weight")
    positions = _shape(state, "embeddings.position_embedding.weight")[0] - 1
    return CLIPVisionConfig(
        patch_size=patch,
        image_size=_side(positions) * patch,
        num_hidden_layers=_layers(state),
        hidden_act=options.hidden_act or "quick_gelu",
        **_widths(state, width, options),
    )


def _dinov2(state: State, options: TowerOptions) -> PreTrainedModel:
    width, patch = _patch(state, "embeddings.patch_embeddings.projection.weight")
    registers = state.get("embeddings.register_tokens")
    gated = any(key.endswith(("mlp.gate_proj.weight", "mlp.weights_in.weight")) for key in state)
    shared: dict[str, Any] = {
        "patch_size": patch,
        "image_size": _side(_shape(state, "embeddings.position_embeddings", 3)[1] - 1) * patch,
        "num_hidden_layers": _layers(state),
        "hidden_size": width,
        "num_attention_heads": _heads(width, options),
        "use_swiglu_ffn": gated,
        "mlp_ratio": 4 if gated else _shape(state, ".0.mlp.fc1.weight")[0] // width,
        "hidden_act": options.hidden_act or "gelu",
    }
    if registers is None:
        return _build(Dinov2Model, Dinov2Config(**shared), state)
    config = Dinov2WithRegistersConfig(
        num_register_tokens=_shape(state, "embeddings.register_tokens", 3)[1], **shared
    )
    return _build(Dinov2WithRegistersModel, config, state)


def _dinov3(state: State, options: TowerOptions) -> DINOv3ViTConfig:
    width, patch = _patch(state, "embeddings.patch_embeddings.weight")
    gated = any(key.endswith("mlp.gate_proj.weight") for key in state)
    return DINOv3ViTConfig(
        patch_size=patch,
        num_hidden_layers=_layers(state),
        hidden_size=width,
        num_attention_heads=_heads(width, options),
        intermediate_size=_shape(state, ".0.mlp.up_proj.weight")[0],
        num_register_tokens=_shape(state, "embeddings.register_tokens", 3)[1],
        use_gated_mlp=gated,
        hidden_act=options.hidden_act or ("silu" if gated else "gelu"),
        key_bias=any(key.endswith("k_proj.bias") for key in state),
    )


def _widths(state: State, width: int, options: TowerOptions) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": _shape(state, ".0.mlp.fc1.weight")[0],
        "num_attention_heads": _heads(width, options),
    }


def _heads(width: int, options: TowerOptions) -> int:
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


def _layers(state: State) -> int:
    """How many layers are there; a number that is absurd would otherwise build as many."""
    found = {match[1] for key in state if (match := re.search(r"layers?\.(\d+)\.", key))}
    if found != {str(number) for number in range(len(found))} or not found:
        shown = sorted(found, key=lambda number: (len(number), number))
        ends = [*shown[:3], *(shown[3:])[-2:]]
        said = ", ".join(number[:20] for number in ends) or "not at all"
        raise ModelError(
            f"The tower's {len(found)} layers are numbered {said}; expected 0, 1, 2 … without a gap.",
            "The checkpoint is incomplete or broken; use another one.",
        )
    return len(found)


def _side(positions: int) -> int:
    side = math.isqrt(max(positions, 0))
    if not side or side * side != positions:
        raise ModelError(f"{positions} position embeddings are no square grid.")
    return side


def _shape(state: State, ending: str, ndim: int = 2) -> tuple[int, ...]:
    tensor: Tensor | None = next((v for k, v in state.items() if k.endswith(ending)), None)
    if tensor is None:
        raise ModelError(f"The tower lacks …{ending}.", "The checkpoint is incomplete.")
    if tensor.ndim != ndim:
        raise ModelError(
            f"The tower's …{ending} has the shape {tuple(tensor.shape)}; expected {ndim} dimensions.",
            "The checkpoint is broken; use another one.",
        )
    return tuple(tensor.shape)


def _patch(state: State, ending: str) -> tuple[int, int]:
    """Width and patch size, from the kernel (width, 3, patch, patch) that embeds the patches."""
    width, channels, patch, across = _shape(state, ending, 4)
    if channels != 3 or patch != across or not width or not patch:
        raise ModelError(
            f"The tower's …{ending} has the shape {(width, channels, patch, across)}; "
            "expected (width, 3, patch, patch).",
            "Towers for three colour channels and square patches are rebuilt here.",
        )
    return width, patch


def _build(model_class: Any, config: Any, state: State) -> Any:
    """from_pretrained, because it knows the key names of older transformers versions; nothing may be left."""
    check_numbers(model_class, config, sum(tensor.numel() for tensor in state.values()))
    model, info = from_hub(
        model_class.from_pretrained,
        None,
        config=config,
        state_dict=state,
        dtype="auto",
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    if problems := loading_problems(info, "missing", "unexpected", "mismatched"):
        raise ModelError(f"The weights do not fit a {model_class.__name__}: {problems}.")
    return model.eval()
