"""Models of transformers with all of their weights: from the hub, a folder, or rebuilt from a state dict."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PreTrainedModel,
)
from transformers.utils import logging

from xai.core import ModelError
from xai.core.errors import first_line
from xai.models.checkpoint import State
from xai.models.tower import (
    TowerOptions,
    heads_of,
    layers_of,
    loading_problems,
    patch_of,
    shape_of,
    side_of,
    widths_of,
)

_SLACK = 10_000_000  # numbers: heads and position embeddings that a checkpoint may lack


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


Tune = Callable[[nn.Module, Mapping[str, Any]], Mapping[str, Any]]
"""Changes a model that was loaded, and says what of the loading report is still true."""


def complete_from_hub(load: Callable[..., Any], place: str, tune: Tune | None = None, **options: Any) -> Any:
    """Call a model's `from_pretrained` and refuse weights that would be made up; eval mode.

    Args:
        load: It.
        place: Folder or hub name.
        tune: Gives the model what else it is made of.
        options: Given on.

    Raises:
        ModelError: As `from_hub`, and when weights are missing or of the wrong shape.
    """
    model, info = from_hub(load, place, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    if tune is not None:
        info = tune(model, info)
    if problems := loading_problems(info, "missing", "mismatched"):
        raise ModelError(
            f"{place} does not hold the weights that {type(model).__name__} needs: {problems}.",
            "They would be random. Use a checkpoint that was fine-tuned as a classifier.",
        )
    return model.eval()


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


def build_dino_tower(state: State, options: TowerOptions) -> PreTrainedModel:
    """A DINOv2 (with or without registers) or DINOv3 tower with these weights, in eval mode.

    Keys may be those of any transformers version.

    Raises:
        ModelError: When it is none of these, or keys are missing, left over or of the wrong shape.
    """
    if "embeddings.position_embeddings" in state and "embeddings.cls_token" in state:
        return _dinov2(state, options)
    if "embeddings.cls_token" in state and "embeddings.patch_embeddings.weight" in state:
        return _build(DINOv3ViTModel, _dinov3(state, options), state)
    if any(key.startswith("blocks.") for key in state):
        raise ModelError(
            "The tower has timm's keys (blocks.…), but no attn_pool.latent as a Perception Encoder has.",
            'Load such a detector with factory: "package.module:Class" in the YAML.',
        )
    raise ModelError(
        "The tower is no CLIP, DINOv2, DINOv3 or Perception Encoder: its keys begin "
        f"{', '.join(sorted(state)[:3])}."
    )


def build_text_tower(state: State, options: TowerOptions) -> CLIPTextModel:
    """A CLIP text tower with these weights, in eval mode."""
    state = {key: value for key, value in state.items() if not key.endswith("embeddings.position_ids")}
    tokens = shape_of(state, "embeddings.token_embedding.weight")
    config = CLIPTextConfig(
        vocab_size=tokens[0],
        max_position_embeddings=shape_of(state, "embeddings.position_embedding.weight")[0],
        num_hidden_layers=layers_of(state),
        hidden_act=options.hidden_act or "quick_gelu",
        **widths_of(state, tokens[1], options),
    )
    return _build(CLIPTextModel, config, state)


def _dinov2(state: State, options: TowerOptions) -> PreTrainedModel:
    width, patch = patch_of(state, "embeddings.patch_embeddings.projection.weight")
    registers = state.get("embeddings.register_tokens")
    gated = any(key.endswith(("mlp.gate_proj.weight", "mlp.weights_in.weight")) for key in state)
    shared: dict[str, Any] = {
        "patch_size": patch,
        "image_size": side_of(shape_of(state, "embeddings.position_embeddings", 3)[1] - 1) * patch,
        "num_hidden_layers": layers_of(state),
        "hidden_size": width,
        "num_attention_heads": heads_of(width, options),
        "use_swiglu_ffn": gated,
        "mlp_ratio": 4 if gated else shape_of(state, ".0.mlp.fc1.weight")[0] // width,
        "hidden_act": options.hidden_act or "gelu",
    }
    if registers is None:
        return _build(Dinov2Model, Dinov2Config(**shared), state)
    config = Dinov2WithRegistersConfig(
        num_register_tokens=shape_of(state, "embeddings.register_tokens", 3)[1], **shared
    )
    return _build(Dinov2WithRegistersModel, config, state)


def _dinov3(state: State, options: TowerOptions) -> DINOv3ViTConfig:
    width, patch = patch_of(state, "embeddings.patch_embeddings.weight")
    gated = any(key.endswith("mlp.gate_proj.weight") for key in state)
    return DINOv3ViTConfig(
        patch_size=patch,
        num_hidden_layers=layers_of(state),
        hidden_size=width,
        num_attention_heads=heads_of(width, options),
        intermediate_size=shape_of(state, ".0.mlp.up_proj.weight")[0],
        num_register_tokens=shape_of(state, "embeddings.register_tokens", 3)[1],
        use_gated_mlp=gated,
        hidden_act=options.hidden_act or ("silu" if gated else "gelu"),
        key_bias=any(key.endswith("k_proj.bias") for key in state),
    )


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
