"""Loading through transformers with errors that say what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xai.core import ModelError
from xai.core.text import first_line
from xai.models.quiet import quiet_transformers

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
    said = []
    for kind in kinds:
        keys = sorted(
            f"{key[0]} {tuple(key[1])} instead of {tuple(key[2])}" if isinstance(key, tuple) else str(key)
            for key in info[f"{kind}_keys"]
        )
        if keys:
            more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
            said.append(f"{kind}: {', '.join(keys[:_SHOWN])}{more}")
    return "; ".join(said)


_SHOWN = 20  # keys in one message
