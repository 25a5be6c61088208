"""The few types everyone shares. Knows no other room and never imports torch."""

from xai.core.errors import ConfigError, DataError, ModelError, UsageError, XaiError, nearest
from xai.core.explanation import Explanation
from xai.core.geometry import Geometry
from xai.core.grid import PatchGrid
from xai.core.memory import keep_freed_memory
from xai.core.record import Record
from xai.core.registry import Registry
from xai.core.sample import Sample
from xai.core.seed import derive_seed
from xai.core.target import Margin
from xai.core.text import printable, valid_text

__all__ = [
    "ConfigError",
    "DataError",
    "Explanation",
    "Geometry",
    "Margin",
    "ModelError",
    "PatchGrid",
    "Record",
    "Registry",
    "Sample",
    "UsageError",
    "XaiError",
    "derive_seed",
    "keep_freed_memory",
    "nearest",
    "printable",
    "valid_text",
]
