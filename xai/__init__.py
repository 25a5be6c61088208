"""See and test what a vision transformer looked at.

The names below load on first use, so that `import xai` and `xai --help` stay light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xai.attr import list_methods as list_methods
    from xai.bench import FinishedBenchmark as FinishedBenchmark
    from xai.bench import benchmark as benchmark
    from xai.core.language import language as language
    from xai.core.runtime import __version__ as __version__
    from xai.explanation import Explanation as Explanation
    from xai.explanation import Explanations as Explanations
    from xai.explanation import MethodComparison as MethodComparison
    from xai.explanation import compare as compare
    from xai.explanation import explain as explain
    from xai.explanation import explain_video as explain_video
    from xai.explanation import report as report
    from xai.models import Classifier as Classifier
    from xai.models import load as load

_ROOMS = {
    "__version__": "xai.core.runtime",
    "language": "xai.core.language",
    "load": "xai.models",
    "Classifier": "xai.models",
    "FinishedBenchmark": "xai.bench",
    "MethodComparison": "xai.explanation",
    "benchmark": "xai.bench",
    "compare": "xai.explanation",
    "explain": "xai.explanation",
    "explain_video": "xai.explanation",
    "Explanation": "xai.explanation",
    "Explanations": "xai.explanation",
    "list_methods": "xai.attr",
}

__all__ = [
    "Classifier",
    "Explanation",
    "Explanations",
    "FinishedBenchmark",
    "MethodComparison",
    "__version__",
    "benchmark",
    "compare",
    "explain",
    "explain_video",
    "language",
    "list_methods",
    "load",
    "report",
]


def __getattr__(name: str) -> Any:
    if name == "report":
        return import_module("xai.report")  # a room that can be called, as `xai.explanation.report`
    if name not in _ROOMS:
        raise AttributeError(f"module 'xai' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
