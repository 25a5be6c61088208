"""Costly tests on the first images: infidelity, sensitivity, class sensitivity, randomised models."""

from torch import Tensor

from xai.bench.assemble import Sheet
from xai.bench.context import Context
from xai.core import Record


def check_records(context: Context, sheet: Sheet, relevance: Tensor, usable: Tensor) -> list[Record]:
    """Records of the configured checks.

    Args:
        context: Of the run.
        sheet: Images of one shape.
        relevance: (rows, B, rows, cols) maps of the followed class.
        usable: (rows, B) where the method did not fail.
    """
    return []
