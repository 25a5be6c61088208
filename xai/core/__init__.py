"""The few types everyone shares. Knows no other room and never imports torch."""

from xai.core.classes import ProblemType, class_index, find_problem_type, problem_type_of
from xai.core.errors import (
    ConfigError,
    DataError,
    ModelError,
    OutputError,
    UsageError,
    XaiError,
    nearest,
    printable,
    valid_text,
)
from xai.core.explanation import Explanation, Face, Geometry, Origin, PatchGrid, Sample, predicted_labels
from xai.core.options import Registry, import_object, is_import_path
from xai.core.record import Record
from xai.core.runtime import derive_seed, keep_freed_memory, spin_briefly
from xai.core.target import Margin

__all__ = [
    "ConfigError",
    "DataError",
    "Explanation",
    "Face",
    "Geometry",
    "Margin",
    "ModelError",
    "Origin",
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
    "spin_briefly",
    "valid_text",
]
