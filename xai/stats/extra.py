"""SciPy, if it is installed."""

from typing import Any

from xai.core import UsageError


def scipy_stats() -> Any:
    """The module `scipy.stats`, imported when first needed.

    Raises:
        UsageError: SciPy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise UsageError(
            "Statistics need SciPy, which is not installed.", "Run: pip install 'vit-xai[bench]'"
        ) from error
    return stats
