"""Colours of relevance, and one scale for all maps that are compared."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files

import numpy as np
from PIL import Image

from xai.core import DataError

COLOURS_OF_A_MAP = 256
NOISE = 1e-6  # of the largest value: what is more negative than this is a sign, not rounding
OPACITY = 0.8  # of the strongest relevance: what lies under it can still be seen
STEPS = 2048  # of a colour scale: eight for each colour, so that opacity is as good as continuous
# even steps of CIELAB lightness either side of white; blue and orange differ in every colour blindness
BLUE_ORANGE = (
    "08488f", "1f77c9", "65a0ef", "b0c9f8", "f3f3f3", "faba97", "e6854b", "c35503", "8e3200"
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ColourMap:
    """Colours of shares from 0 to 1.

    Args:
        table: (256, 3) float32 in [0, 1].
    """

    table: np.ndarray

    def __call__(self, shares: np.ndarray | float) -> np.ndarray:
        """(…, 3) colours; below 0 the first, above 1 the last."""
        place = np.asarray(np.multiply(shares, COLOURS_OF_A_MAP)).clip(0, COLOURS_OF_A_MAP - 1)
        return self.table[place.astype(np.intp)]


def _between(colours: tuple[str, ...]) -> ColourMap:
    """Evenly spread colours, with straight lines between them."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in colours]) / 255
    places = np.linspace(0, len(colours) - 1, COLOURS_OF_A_MAP)
    channels = [np.interp(places, np.arange(len(colours)), channel) for channel in anchors.T]
    return ColourMap(np.stack(channels, axis=1).astype(np.float32))


# by N. J. Smith, S. van der Walt and E. Firing (CC0), as in matplotlib; cividis by Nuñez et al. 2018
with as_file(files("xai.report") / "colours.png") as _path, Image.open(_path) as _rows:
    _inferno, _viridis, _cividis = np.asarray(_rows).astype(np.float32) / 255

# perceptually uniform; its hot end keeps apart from skin on a grey photograph
SEQUENTIAL = ColourMap(_inferno)
DIVERGING = _between(BLUE_ORANGE)
COLOURS = {
    "inferno": SEQUENTIAL,
    "viridis": ColourMap(_viridis),
    "cividis": ColourMap(_cividis),
    "blue-orange": DIVERGING,
}


@dataclass(frozen=True)
class ColourScale:
    """Colours for relevance in [0, limit], or in [−limit, limit] if `signed`.

    Args:
        limit: The value drawn with the last colour, in the units of the method.
        signed: Diverging colours, centred on 0.
    """

    limit: float
    signed: bool = False

    @classmethod
    def of(cls, maps: Iterable[np.ndarray]) -> "ColourScale":
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
    def colormap(self) -> ColourMap:
        """Diverging for signed relevance, else sequential."""
        return DIVERGING if self.signed else SEQUENTIAL

    @property
    def low(self) -> float:
        """The value drawn with the first colour."""
        return -self.limit if self.signed else 0.0

    @property
    def limits(self) -> tuple[float, float]:
        """The values drawn with the first and with the last colour."""
        return self.low, self.limit

    @cached_property
    def steps(self) -> np.ndarray:
        """(2049,) values from the first to the last colour, 0 among them."""
        return np.linspace(self.low, self.limit, STEPS + 1)

    @cached_property
    def heat(self) -> np.ndarray:
        """(2049, 3) uint8 colours of the steps."""
        return (self.colours(self.steps) * 255 + 0.5).astype(np.uint8)

    @cached_property
    def blend(self) -> tuple[np.ndarray, np.ndarray]:
        """What brightness is multiplied by, (2049,), and what is then added in each channel, (3, 2049).

        The half that rounds is among the latter.
        """
        # flat at 0, so that noise and changes of sign leave no trace, then steep: 0.25 is half opaque
        opacity = OPACITY * (1 - (1 - self.strength(self.steps) ** 1.25) ** 4)
        paint = 255 * self.colours(self.steps).T * opacity + 0.5
        return (1 - opacity).astype(np.float32), np.ascontiguousarray(paint, np.float32)

    def step(self, values: np.ndarray) -> np.ndarray:
        """Of each value the nearest one's place in `steps`; beyond the scale its end."""
        place = (values - self.low) / ((self.limit - self.low) or 1.0)
        place *= STEPS
        place += 0.5
        return np.clip(place, 0, STEPS, out=place).astype(np.intp)

    @property
    def ramp(self) -> np.ndarray:
        """(256, 3) colours from the first to the last."""
        return self.colours(np.linspace(self.low, self.limit, 256))

    def colours(self, values: np.ndarray) -> np.ndarray:
        """(…, 3) float32 colours in [0, 1] of relevance values; beyond the scale its end colour."""
        span = (self.limit - self.low) or 1.0
        return self.colormap((np.nan_to_num(values) - self.low) / span)

    def strength(self, values: np.ndarray) -> np.ndarray:
        """How strong each value is on this scale, in [0, 1]; 0 where `values` is NaN."""
        values = np.nan_to_num(values)
        return np.clip((np.abs(values) if self.signed else values) / (self.limit or 1.0), 0, 1)
