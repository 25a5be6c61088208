"""From relevance to colour: one scale for every map that is to be compared."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap

from xai.core import DataError

# perceptually uniform; its hot end keeps apart from skin on a grey photograph
SEQUENTIAL = colormaps["inferno"]
# even steps of CIELAB lightness either side of white; blue and orange differ in every colour blindness
DIVERGING = LinearSegmentedColormap.from_list(
    "blue_orange",
    ["#08488f", "#1f77c9", "#65a0ef", "#b0c9f8", "#f3f3f3", "#faba97", "#e6854b", "#c35503", "#8e3200"],
)
NOISE = 1e-6  # of the largest value: what is more negative than this is a sign, not rounding


@dataclass(frozen=True)
class Scale:
    """Colours for relevance in [0, limit], or in [−limit, limit] if `signed`.

    Args:
        limit: The value drawn with the last colour, in the units of the method.
        signed: Diverging colours, centred on 0.
    """

    limit: float
    signed: bool = False

    @classmethod
    def of(cls, maps: Iterable[np.ndarray]) -> "Scale":
        """The one scale on which all these maps may be compared: from 0 to their largest absolute value.

        Raises:
            DataError: A map holds NaN or infinity.
        """
        values = np.concatenate([np.ravel(one) for one in maps])
        if not np.isfinite(values).all():
            raise DataError(
                "A relevance map holds NaN or infinity and cannot be drawn.",
                "Check the model's weights; try dtype float32 if it ran in half precision.",
            )
        limit = float(np.abs(values).max())
        return cls(limit, bool(values.min() < -NOISE * limit))

    @property
    def colormap(self) -> Colormap:
        """Diverging for signed relevance, else sequential."""
        return DIVERGING if self.signed else SEQUENTIAL

    @property
    def low(self) -> float:
        """The value drawn with the first colour."""
        return -self.limit if self.signed else 0.0

    def colours(self, values: np.ndarray) -> np.ndarray:
        """(…, 3) float32 colours in [0, 1] of relevance values; beyond the scale its end colour."""
        span = (self.limit - self.low) or 1.0
        return self.colormap((np.nan_to_num(values) - self.low) / span)[..., :3].astype(np.float32)

    def strength(self, values: np.ndarray) -> np.ndarray:
        """How strong each value is on this scale, in [0, 1]; 0 where `values` is NaN."""
        values = np.nan_to_num(values)
        return np.clip((np.abs(values) if self.signed else values) / (self.limit or 1.0), 0, 1)
