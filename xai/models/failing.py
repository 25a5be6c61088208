"""Why a module failed on its input, where that can be told: in words that say where to mend it."""

from torch import Tensor, nn

from xai.attention import is_traced
from xai.core import ModelError
from xai.core.memory import is_out_of_memory
from xai.core.text import first_line
from xai.models.module_weights import mixed_types

FAILURES = (RuntimeError, ValueError, AssertionError, IndexError, TypeError)
"""What libraries raise when an input does not fit."""


def reason_of(error: Exception, module: nn.Module, name: str, pixels: Tensor) -> ModelError | None:
    """The error to raise instead, None where nothing more is known than what was raised.

    Args:
        error: One of FAILURES, raised by `module(pixels)`.
        module: What ran.
        name: What people call it.
        pixels: (B, 3, H, W) what it was given.
    """
    if is_out_of_memory(error):
        return None
    if "dtype" in str(error) and (types := mixed_types(module)):
        said = ", ".join(f"{count} parameters in {kind}" for kind, count in types.items())
        return ModelError(
            f"{name} mixes floating-point types, which torch does not: {said}.",
            'Load it in one: dtype="float32"/--dtype float32.',
        )
    if is_traced(module):
        return ModelError(
            f"{name} is an exported or traced graph, which failed on pixels of shape "
            f"{tuple(pixels.shape)}: {first_line(error)}",
            "Export it with a batch of any size, or give the module that it was made from.",
        )
    built, given = stated_size(module), tuple(pixels.shape[-2:])
    if built is not None and built != given:
        return ModelError(
            f"{name} was built for {built[0]}×{built[1]} pixels and does not take the {given[0]}×{given[1]} "
            f"(height × width) that it was given: {first_line(error)}",
            "Its preprocessing must give the size it was built for: mend size or crop_size in its "
            "preprocessor_config.json, resolution or resize in its YAML file, or the tensors.",
        )
    return None


def stated_size(module: nn.Module) -> tuple[int, int] | None:
    """(height, width) of the input that a module says it was built for, None if it does not."""
    for inner in module.modules():
        config = getattr(inner, "config", None)
        # transformers says it in the configuration, torchvision, open_clip and timm on the module
        said = getattr(config, "vision_config", config) or inner
        size = getattr(said, "image_size", None) or getattr(said, "img_size", None)
        if isinstance(size, int):
            return size, size
        if isinstance(size, tuple | list):
            return size[0], size[1]
    return None
