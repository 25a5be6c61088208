"""Loading through transformers with errors that say what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from xai.core import ModelError
from xai.models.quiet import quiet_transformers


def from_hub(load: Callable[..., Any], place: str, **options: Any) -> Any:
    """Call a `from_pretrained`.

    Raises:
        ModelError: When nothing can be loaded from `place`, a folder or hub name.
    """
    try:
        with quiet_transformers():
            return load(place, **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        hint = (
            "Check that the folder holds a complete model (config.json and weights)."
            if Path(place).is_dir()
            else "Check the name and the network, or use local:DIR for a folder."
        )
        raise ModelError(f"{place} cannot be loaded: {reason}", hint) from error


def complete_from_hub(load: Callable[..., Any], place: str, **options: Any) -> Any:
    """Call a model's `from_pretrained` and refuse weights that would be made up; eval mode.

    Raises:
        ModelError: As `from_hub`, and when weights are missing or of the wrong shape.
    """
    model, info = from_hub(load, place, output_loading_info=True, **options)
    lacking = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if lacking:
        raise ModelError(
            f"{place} lacks weights that {type(model).__name__} needs: {', '.join(lacking)}.",
            "They would be random. Use a checkpoint that was fine-tuned as a classifier.",
        )
    return model.eval()
