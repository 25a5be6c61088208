"""The use case: explain images with a model, in batches, and write the results.

What makes pages and what reads videos loads on first use: few calls ask for one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xai.attr.registry import MethodFile, read_method_file
from xai.core import Explanation, OutputError
from xai.explanation.arguments import boxes_for, face_finder
from xai.explanation.compare import compare, methods_with_options
from xai.explanation.comparison import MethodComparison, compare_methods, write_comparison
from xai.explanation.examine import examine
from xai.explanation.explain import Explained, explain, explain_each
from xai.explanation.explainer import Explainer, choose_method, name_of, noise, options_of
from xai.explanation.explanations import Explanations
from xai.explanation.faces import FaceFinder
from xai.explanation.files import warnings_of, writing
from xai.explanation.inputs import Failure, gather

if TYPE_CHECKING:
    from xai.explanation.page import PageBuilder as PageBuilder
    from xai.explanation.page import page_of_comparison as page_of_comparison
    from xai.explanation.reporting import report as report
    from xai.explanation.videos import ExplainedVideo as ExplainedVideo
    from xai.explanation.videos import explain_each_video as explain_each_video
    from xai.explanation.videos import explain_video as explain_video

_LATER = {
    "PageBuilder": "xai.explanation.page",
    "page_of_comparison": "xai.explanation.page",
    "report": "xai.explanation.reporting",
    "ExplainedVideo": "xai.explanation.videos",
    "explain_each_video": "xai.explanation.videos",
    "explain_video": "xai.explanation.videos",
}

__all__ = [
    "Explained",
    "ExplainedVideo",
    "Explainer",
    "Explanation",
    "Explanations",
    "FaceFinder",
    "Failure",
    "MethodComparison",
    "MethodFile",
    "OutputError",
    "PageBuilder",
    "boxes_for",
    "choose_method",
    "compare",
    "compare_methods",
    "examine",
    "explain",
    "explain_each",
    "explain_each_video",
    "explain_video",
    "face_finder",
    "gather",
    "methods_with_options",
    "name_of",
    "noise",
    "options_of",
    "page_of_comparison",
    "read_method_file",
    "report",
    "warnings_of",
    "write_comparison",
    "writing",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'xai.explanation' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
