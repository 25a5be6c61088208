"""A method and its options under the name of what they are for."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A choice that was measured.

    Args:
        name: As in `--preset`.
        method: Registry name.
        options: Of the method; those left out keep its defaults.
        purpose: What it is for, in one sentence.
    """

    name: str
    method: str
    options: Mapping[str, Any]
    purpose: str


_CHOICES = (
    Preset(
        "faithful",
        "integrated_mask_gradient",
        {"n_steps": 8, "internal_batch_size": 1},  # points of the path by turns: memory as of one pass
        "What the answer rests on, for and against: the default.",
    ),
    Preset(
        "one_pass",
        "gradient_weighted_attention",
        {"layers": "all_layers", "clamp": None},
        "The same question for one forward and one backward pass, on any model.",
    ),
    Preset(
        "localisation",
        "gradient_weighted_attention",
        {"layers": "last_4_layers", "clamp": "heads"},
        "Where a forged region lies: what speaks for the class in any head of the last four layers.",
    ),
    Preset(
        "script",
        "gradient_weighted_attention",
        {"layers": "last_layer", "clamp": "fused"},
        "What the attention visualiser script for clip_enhanced draws by default.",
    ),
)
PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _CHOICES})
"""By name; measured in `reports/clip-forgery`."""
DEFAULT_PRESET = PRESETS["faithful"]
"""What explains where no method is named."""
