"""Models of transformers with all of their weights: from the hub, a folder, or rebuilt from a state dict."""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PreTrainedModel,
)
from transformers.activations import ACT2FN
from transformers.utils import logging

from xai.core import ConfigError, ModelError, nearest
from xai.core.errors import first_line
from xai.models.checkpoint import State

_SLACK = 10_000_000  # numbers: heads and position embeddings that a checkpoint may lack
_HEAD_WIDTH = 64  # of every published CLIP, DINOv2 and DINOv3


def from_hub(load: Callable[..., Any], place: str | None, **options: Any) -> Any:
    """Call a `from_pretrained`.

    Args:
        load: It.
        place: Folder or hub name; None where the weights are among the options.
        options: Given on.

    Raises:
        ModelError: When nothing can be loaded.
    """
    try:
        with quiet_transformers():
            return load(place, **options)
    except Exception as error:  # a broken configuration meets its end anywhere in the library
        reason = first_line(error)
        if "trust_remote_code" in str(error):
            hint = (
                "It runs code of its own. If you trust that code: trust_remote_code=True/--trust-remote-code."
            )
        elif place is None:
            hint = "The checkpoint is broken, or num_attention_heads or hidden_act in the YAML do not fit it."
        elif Path(place).is_dir():
            hint = "Check that the folder is complete: config.json, weights, preprocessor_config.json."
        else:
            hint = "Check the name and the network, or use local:DIR for a folder."
        raise ModelError(f"{place or 'The tower'} cannot be loaded: {reason}", hint) from error


def check_numbers(model_class: Any, config: Any, held: int) -> None:
    """Refuse a configuration of a model far larger than its weights, before memory is filled with it.

    Args:
        model_class: With a constructor or `from_config` that takes the configuration.
        config: It.
        held: How many numbers the weights can hold.

    Raises:
        ModelError: With both figures.
    """
    build = getattr(model_class, "from_config", model_class)
    try:
        with quiet_transformers(), torch.device("meta"):
            model: nn.Module = build(config)
    except Exception:  # some models cannot be built without data; loading will say what is wrong
        return
    needed = sum(parameter.numel() for parameter in model.parameters())
    if needed > 4 * held + _SLACK:
        raise ModelError(
            f"The configuration describes {type(model).__name__} with {needed:.3g} weights; "
            f"the checkpoint holds no more than {held:.3g} numbers.",
            "The configuration is that of another model, or broken.",
        )


def complete_from_hub(load: Callable[..., Any], place: str, **options: Any) -> Any:
    """Call a model's `from_pretrained` and refuse weights that would be made up; eval mode.

    Raises:
        ModelError: As `from_hub`, and when weights are missing or of the wrong shape.
    """
    model, info = from_hub(load, place, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    if problems := loading_problems(info, "missing", "mismatched"):
        raise ModelError(
            f"{place} does not hold the weights that {type(model).__name__} needs: {problems}.",
            "They would be random. Use a checkpoint that was fine-tuned as a classifier.",
        )
    return model.eval()


def loading_problems(info: dict[str, Any], *kinds: str) -> str:
    """What transformers reports of loading, for a message; "" if nothing of these kinds."""
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


_MOST_KEYS = 20  # keys in one message


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers inside the block; its settings are as before afterwards."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


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
        ordered = sorted(found, key=lambda number: (len(number), number))
        ends = [*ordered[:3], *(ordered[3:])[-2:]]
        listed = ", ".join(number[:20] for number in ends) or "not at all"
        raise ModelError(
            f"The tower's {len(found)} layers are numbered {listed}; expected 0, 1, 2 … without a gap.",
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
