"""Maps of surveys as pictures."""

import numpy as np

from xai.report.survey_maps import differences
from xai.stats.survey import MapContrast


def test_no_difference_at_all_is_drawn_as_none():
    """Such as of two runs that are the same: not as the strongest difference that the colours know."""
    largest = np.eye(4) - np.eye(4)[::-1]
    same, other = (MapContrast("run", "a", "b", (9, 9), one, None, 9) for one in (0 * largest, largest))
    (nothing,) = differences([same], 0.05, None).tiles
    _, beside = differences([other, same], 0.05, None).tiles
    assert np.array_equal(nothing.pixels, beside.pixels) and np.unique(
        nothing.pixels.reshape(-1, 3), axis=0
    ).shape == (1, 3)
