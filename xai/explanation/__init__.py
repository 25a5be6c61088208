"""The use case: explain images with a model, in batches, and write the results."""

from xai.core import Explanation
from xai.explanation.compare import Comparison, compare, write_comparison
from xai.explanation.examine import examine
from xai.explanation.explain import Done, boxes_for, explain, explain_each
from xai.explanation.explainer import Explainer, name_of
from xai.explanation.failure import Failure, OutputError
from xai.explanation.files import writing
from xai.explanation.inputs import gather
from xai.explanation.record import warnings_of

__all__ = [
    "Comparison",
    "Done",
    "Explainer",
    "Explanation",
    "Failure",
    "OutputError",
    "boxes_for",
    "compare",
    "examine",
    "explain",
    "explain_each",
    "gather",
    "name_of",
    "warnings_of",
    "write_comparison",
    "writing",
]
