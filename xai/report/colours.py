"""Colours of relevance: tables of 256 colours, without what draws charts."""

from dataclasses import dataclass
from importlib.resources import as_file, files

import numpy as np
from PIL import Image

STEPS = 256
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
        place = np.asarray(np.multiply(shares, STEPS)).clip(0, STEPS - 1)
        return self.table[place.astype(np.intp)]


def _between(colours: tuple[str, ...]) -> ColourMap:
    """Evenly spread colours, with straight lines between them."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in colours]) / 255
    places = np.linspace(0, len(colours) - 1, STEPS)
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
