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
    except Exception as error:  # transformers raises whatever a file of another's making brings it to
        said = str(error).strip() or type(error).__name__
        reason = said.splitlines()[0]
        if isinstance(error, TypeError | AttributeError | LookupError):  # whose words alone say little
            reason = f"{type(error).__name__}: {reason}"
        if "trust_remote_code" in str(error):
            hint = (
                "It runs code of its own. If you trust that code: trust_remote_code=True/--trust-remote-code."
            )
        elif Path(place).is_dir():
            hint = "Check that the folder is complete: config.json, weights, preprocessor_config.json."
        else:
            hint = "Check the name and the network, or use local:DIR for a folder."
        raise ModelError(f"{place} cannot be loaded: {reason}", hint) from error


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
            said.append(f"{kind}: {', '.join(keys)}")
    return "; ".join(said)
