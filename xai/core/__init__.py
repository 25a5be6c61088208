"""The few types everyone shares. Knows no other room and never imports torch."""

from xai.core.errors import ConfigError, DataError, ModelError, OutputError, UsageError, XaiError, nearest
from xai.core.explanation import Explanation, predicted_labels
from xai.core.geometry import Geometry
from xai.core.grid import PatchGrid
from xai.core.head import ProblemType, find_problem_type, problem_type_of
from xai.core.imports import import_object, is_import_path
from xai.core.memory import keep_freed_memory
from xai.core.record import Record
from xai.core.registry import Registry
from xai.core.sample import Sample
from xai.core.seed import derive_seed
from xai.core.target import Margin, class_index
from xai.core.text import printable, valid_text

__all__ = [
    "ConfigError",
    "DataError",
    "Explanation",
    "Geometry",
    "Margin",
    "ModelError",
    "OutputError",
    "PatchGrid",
    "ProblemType",
    "Record",
    "Registry",
    "Sample",
    "UsageError",
    "XaiError",
    "class_index",
    "derive_seed",
    "find_problem_type",
    "import_object",
    "is_import_path",
    "keep_freed_memory",
    "nearest",
    "predicted_labels",
    "printable",
    "problem_type_of",
    "valid_text",
]
