"""From an image file to which pixels were tampered with: what is unambiguous is read, the rest refused.

A mask is what somebody else's tool saved: 0 and 1, 0 and 255, one colour on black, a cut-out, grey edges. A
threshold at half would read most of these as empty or full without a word, so the values themselves
are looked at. `docs/benchmark.md` states the rules.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from xai.core import DataError
from xai.core.files import short_path
from xai.data.image import ORIENTATION, opened

Mask = NDArray[np.bool_]
FULL = (1, 255, 65535)  # a mask of one of these values alone is inside everywhere
END = 1 / 8  # of the scale at either end counts as black or white where a mask has soft edges
NARROW, NARROW_LOSSY = 2, 8  # pixels from black to white across a soft edge; lossy formats ring over a block
FRINGE = 1 / 4  # of the inside, at the most, has the colours of an edge thresholded channel by channel
GRADUAL, SAME = 16, 1 / 4  # so many values between, and none with more than this share: no label map
LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF")
MOST_LISTED = 6  # values in a message
HINT = (
    "A mask is black outside and of one other value inside (best 255), or of one colour on black; its edges "
    "may be soft. Save it so, with the values 0 and 255."
)
TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class DisplaySize:
    """How an image is shown, which its mask has to follow.

    Args:
        size: (width, height) upright.
        orientation: EXIF orientation by which its pixels were turned, 1 if they were not.
    """

    size: tuple[int, int]
    orientation: int = 1

    @property
    def stored(self) -> tuple[int, int]:
        """(width, height) of the pixels as they lie in the file."""
        width, height = self.size
        return (height, width) if self.orientation in TURNED else (width, height)


def read_mask(source: Path | bytes, image: DisplaySize, name: str | None = None) -> Mask:
    """Read which pixels of an image are inside its mask.

    Two values: the one that is not 0 is inside (0/1, 0/255, 0/65535, False/True, any 0/x). One colour on
    black, also with a fringe of other full colours, palettes by their colours: the colour is inside.
    Transparency: what is painted in one colour is inside. More than two grey values: white is inside, from
    half on, if what lies between black and white is nothing but soft edges. One value: nothing is inside at
    0, all at 1, 255 or 65535.

    A mask belongs to the image as it is shown, upright. One whose size fits only the pixels as they are
    stored is turned with them. Where both fit and make a difference, the mask's own EXIF orientation
    decides, and without one it is refused.

    Args:
        source: A path, or a file's content.
        image: That the mask belongs to.
        name: For messages; default the path.

    Returns:
        (height, width) bool of the image as shown, True inside.

    Raises:
        DataError: It cannot be read, its values do not say what is inside, or it has another size.
    """
    name = name or f"the mask {short_path(source) if isinstance(source, Path) else ''}".rstrip()
    with opened(source, name) as file:
        if getattr(file, "n_frames", 1) > 1:
            raise DataError("it has several frames or pages.", "Save the one that is meant.")
        turned = file.getexif().get(ORIENTATION) in range(1, 9)
        lossy = file.format in LOSSY or file.info.get("compression") in ("jpeg", "webp")
        tags = getattr(file, "tag_v2", {})
        upright = ImageOps.exif_transpose(file)
        size = upright.size
        if size == image.size or (size == image.stored and not turned):
            return _as_displayed(_inside(upright, lossy, inverted=tags.get(262) == 0), image, turned)
    raise DataError(
        f"{name} has {size[0]} × {size[1]} pixels, its image {image.size[0]} × {image.size[1]}.",
        "A mask must have the size of its image.",
    )


def _as_displayed(inside: Mask, image: DisplaySize, turned: bool) -> Mask:
    """The mask over the image as shown.

    Args:
        inside: (height, width) as the mask's own orientation says, of a size that fits.
        image: That it belongs to.
        turned: Whether the mask says how it is to be turned.
    """
    size = inside.shape[::-1]
    if image.orientation == 1 or turned or size != image.stored:
        return inside
    follows = np.asarray(Image.fromarray(inside).transpose(_TURN[image.orientation]))
    if size == image.size and not np.array_equal(follows, inside):
        raise DataError(
            f"its image is turned by its EXIF orientation ({image.orientation}), and the mask fits it both "
            "as stored and as shown.",
            "Save the image upright without that tag, or give the mask an EXIF orientation: "
            f"{image.orientation} if it follows the stored pixels, 1 if the image as shown.",
        )
    return follows


def _inside(image: Image.Image, lossy: bool, inverted: bool) -> Mask:
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        # a TIFF may say that white is 0, which PIL heeds in 8 bits but not in 16
        return _of_grey(65535 - values if inverted and image.mode.startswith("I;16") else values, lossy)
    if image.mode == "La":
        image = image.convert("LA")  # PIL has no way from La to RGBA
    if not image.has_transparency_data:
        if image.mode == "P":
            _check_palette(image)
        return _of_colour(np.asarray(image.convert("RGB")), lossy)
    rgba = np.asarray(image.convert("RGBA"))
    colour, alpha = rgba[..., :3], rgba[..., 3]
    if (alpha != alpha.flat[0]).any():
        return _of_alpha(colour, alpha, lossy)
    if alpha.flat[0] > 0:  # the same everywhere says nothing
        return _of_colour(colour, lossy)
    if _colours(colour) > 1:
        raise _contradiction(colour, alpha)
    return np.zeros(alpha.shape, bool)  # nothing was painted


def _of_alpha(colour: np.ndarray, alpha: np.ndarray, lossy: bool) -> Mask:
    """Painted in one colour on nothing: what is painted is inside. Black may as well lie around a hole."""
    visible = colour[alpha > 0]
    if _colours(visible) > 1 or not visible.any():
        raise _contradiction(colour, alpha)
    return _of_grey(alpha, lossy)


def _contradiction(colour: np.ndarray, alpha: np.ndarray) -> DataError:
    return DataError(
        f"its colours ({_listed_colours(colour)}) and its transparency "
        f"(alpha {_listed_values(_unique(alpha))}) do not agree on what is inside.",
        HINT,
    )


def _of_colour(colour: np.ndarray, lossy: bool) -> Mask:
    """(H, W, 3): grey, or one colour on black."""
    if (colour == colour[..., :1]).all():
        return _of_grey(colour[..., 0], lossy)
    painted = np.asarray(colour.any(-1))
    if not painted.all() and (_colours(colour[painted]) == 1 or _is_thresholded(colour, painted)):
        return painted
    raise DataError(f"the colours {_listed_colours(colour)} do not say what is inside.", HINT)


def _is_thresholded(colour: np.ndarray, painted: Mask) -> bool:
    """Whether it is one colour on black whose soft edge was made hard channel by channel, and so is coloured.

    Pixels of other colours than the most frequent one are then few, and all lie between it and black.
    """
    if not np.isin(colour, (0, 255)).all():
        return False
    codes = _codes(colour).reshape(painted.shape)
    found, counts = np.unique(codes[painted], return_counts=True)
    main = codes == found[counts.argmax()]
    fringe = painted & ~main
    few = fringe.sum() <= FRINGE * main.sum()
    return bool(few and (_near(main, NARROW_LOSSY) & _near(~painted, NARROW_LOSSY))[fringe].all())


def _of_grey(values: np.ndarray, lossy: bool) -> Mask:
    """(H, W) of any type."""
    if not np.isfinite(values).all():
        raise DataError("it holds values that are no numbers.", HINT)
    found = _unique(values)
    top = found[-1]
    if len(found) == 1 and top == 0:
        return np.zeros(values.shape, bool)
    if len(found) == 1 and top in FULL:
        return np.ones(values.shape, bool)
    # the ringing of a lossy format makes two values of one that is nearly black
    if len(found) == 2 and found[0] == 0 and not (lossy and top <= 255 * END):
        return np.asarray(values != 0)
    inside = None if found[0] < 0 else _of_soft(values, found, lossy)
    if inside is None:
        raise DataError(f"the values {_listed_values(found)} do not say what is inside.", HINT)
    return inside


def _of_soft(values: np.ndarray, found: np.ndarray, lossy: bool) -> Mask | None:
    """From half on, where all but soft edges is black or white; None where that is not so."""
    white = next((level for level in FULL if level >= found[-1]), None)
    if white is None or found[-1] < (1 - END) * white:
        return None
    black, bright = values <= END * white, values >= (1 - END) * white
    if bright.all():
        return bright
    edge = ~(black | bright)
    if black.any() and (not edge.any() or (len(found) > 3 and _is_edge(values, edge, black, bright, lossy))):
        return np.asarray(values >= white / 2)
    return None


def _is_edge(values: np.ndarray, edge: Mask, black: Mask, bright: Mask, lossy: bool) -> bool:
    """Whether what lies between black and white is an edge, not a third meaning."""
    reach = NARROW_LOSSY if lossy else NARROW
    narrow = bool((_near(black, reach) & _near(bright, reach))[edge].all())
    few = int(edge.sum()) < min(int(black.sum()), int(bright.sum()))
    if narrow and (few or not lossy):
        return True
    _, counts = np.unique(values[edge], return_counts=True)
    return few and len(counts) >= GRADUAL and counts.max() <= SAME * counts.sum()


def _near(there: Mask, reach: int) -> Mask:
    """Within so many rows and columns of a True."""
    for axis in (0, 1):
        wide = there.copy()
        for step in range(1, min(reach, there.shape[axis] - 1) + 1):
            ahead, behind = [slice(None)] * 2, [slice(None)] * 2
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            wide[tuple(ahead)] |= there[tuple(behind)]
            wide[tuple(behind)] |= there[tuple(ahead)]
        there = wide
    return there


def _check_palette(image: Image.Image) -> None:
    """A palette that lost its colours shows several indices as one, which no viewer can tell apart."""
    indices = _unique(np.asarray(image))
    colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    if len(indices) > 1 and _colours(colours) == 1:
        raise DataError(f"its palette shows the indices {_listed_values(indices)} in one colour.", HINT)


def _unique(values: np.ndarray) -> np.ndarray:
    """The values there are, ascending; counted where that is faster than sorting them."""
    if values.dtype == np.uint8:
        return np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    return np.unique(values)


def _codes(colour: np.ndarray) -> np.ndarray:
    return colour.reshape(-1, 3).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def _colours(colour: np.ndarray) -> int:
    """How many there are; 0, 1, or 2 for several."""
    codes = _codes(colour)
    return len(codes) if len(codes) < 2 else 1 + bool((codes != codes[0]).any())


def _listed_colours(colour: np.ndarray) -> str:
    codes = np.unique(_codes(colour))
    return _listed([f"#{code:06x}" for code in codes[:MOST_LISTED]], len(codes))


def _listed_values(values: np.ndarray) -> str:
    return _listed([f"{float(value):g}" for value in values[:MOST_LISTED]], len(values), f"{values[-1]:g}")


def _listed(names: list[str], count: int, last: str = "") -> str:
    more = f" … {last}".rstrip() + f" ({count} of them)" if count > len(names) else ""
    return ", ".join(names) + more
