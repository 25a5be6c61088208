"""From an image file to upright RGB."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from xai.core import DataError
from xai.data.paths import fault_of, is_folder, shown
from xai.data.sniff import MOST, what_it_is

# formats of photographs; above all not EPS and PDF, which PIL would hand to an interpreter
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
SUFFIXES = (".apng .avif .bmp .gif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .ppm .tif .tiff .webp").split()  # noqa: SIM905 - read as one line
UNREADABLE = (".heic", ".heif", ".hif", ".jxl")
"""Photographs of kinds that are not read: a folder's are listed, so that none is passed over unsaid."""
ORIENTATION = 274  # EXIF and TIFF tag
_KIND_OF_PAGE, _BITS, _PHOTOMETRIC, _DNG = 254, 258, 262, 50706  # TIFF tags
_NO_TAGS: Mapping[int, Any] = MappingProxyType({})


def read_image(path: str | Path) -> Image.Image:
    """Read an image as upright 8-bit RGB at its own resolution.

    The first frame of an animation or page of a document, turned as its EXIF orientation says. Transparent
    pixels lie over white, 16-bit grey is scaled to 8 bit (65535 → 255), palettes and CMYK are resolved.
    Colour profiles are not applied, as image processors do not apply them either.

    An image is never read at a reduced size, since a detector's answer depends on the pixels. The size
    is read from the header first: more than 2 × `PIL.Image.MAX_IMAGE_PIXELS` (as shipped 178 956 970 pixels,
    540 MB as RGB) is an error before anything is decoded.

    Raises:
        DataError: Missing, no regular file, not an image, truncated, too large, or of a kind without a
            known white level.
    """
    return read_turned(path)[0]


def read_turned(source: str | Path | bytes, name: str | None = None) -> tuple[Image.Image, int]:
    """`read_image` of a file or of its bytes, and the EXIF orientation it was turned by (1: not at all).

    Args:
        source: A path, or a file's content.
        name: For messages; default the path.

    Raises:
        DataError: As `read_image`.
    """
    with opened(source, name) as image:
        orientation, tags = orientation_of(image), getattr(image, "tag_v2", {})
        return to_rgb(ImageOps.exif_transpose(image), image.format, tags), orientation


@contextmanager
def opened(source: str | Path | bytes, name: str | None = None) -> Iterator[Image.Image]:
    """A file or its bytes opened by PIL; what goes wrong with it in the block is one DataError."""
    name = shown(name or source) if not isinstance(source, bytes) or name else "image"
    if not isinstance(source, bytes):
        _check_file(Path(source))
    try:
        with warnings.catch_warnings():
            # PIL warns from half of the limit on, and about damaged metadata that does not matter here
            warnings.simplefilter("ignore")
            file = BytesIO(source) if isinstance(source, bytes) else Path(source)
            with Image.open(file, formats=FORMATS) as image:
                _check_page(image)
                yield image
    except DataError as error:
        raise DataError(f"{name}: {error.message}", error.hint) from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise DataError(
            f"{name}: larger than {limit} megapixels.", "Save it smaller, or cut out the part to explain."
        ) from None
    except UnidentifiedImageError:
        raise _unknown(source, name) from None
    except MemoryError:
        raise DataError(f"{name}: not enough memory to read it.") from None
    except PermissionError as error:
        raise DataError(f"{name}: {error.strerror or error}.") from None
    except Exception as error:  # PIL's decoders raise whatever the broken bytes make them
        raise DataError(f"{name}: broken image ({error}).") from error


def orientation_of(image: Image.Image) -> int:
    """Its EXIF orientation, 1 to 8; to be asked before the pixels are loaded, which turns a TIFF."""
    found = image.getexif().get(ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def to_rgb(image: Image.Image, file_format: str | None, tags: Mapping[int, Any] = _NO_TAGS) -> Image.Image:
    """Any mode as RGB: 16 bits scaled rather than clipped, transparency over white.

    Args:
        image: As PIL decodes it.
        file_format: As PIL names it.
        tags: Of a TIFF.

    Raises:
        DataError: 32-bit grey, which has no agreed white level.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format in ("PNG", "PPM")):
        return _from_16_bits(image, tags)
    if image.mode in ("I", "F"):
        raise DataError("32-bit grey has no agreed white level.", "Save it with 8 or 16 bits per channel.")
    if image.mode == "La":
        image = image.convert("LA")  # PIL has no way from La to RGBA
    if image.has_transparency_data:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image, tags: Mapping[int, Any]) -> Image.Image:
    """Grey of 16 bits, or of the 12 that a TIFF may have, which PIL leaves unscaled and uninverted."""
    bits = tags.get(_BITS, (16,))
    white = 2 ** (bits if isinstance(bits, int) else bits[0]) - 1
    # PIL's own conversion to 8 bit clips at 255
    grey = image.convert("I").point(lambda value: value * (255 / white) + 0.5).convert("L")
    return (ImageChops.invert(grey) if tags.get(_PHOTOMETRIC) == 0 else grey).convert("RGB")


def _check_page(image: Image.Image) -> None:
    """A TIFF whose first page is a small preview of the photograph would be read as that preview."""
    tags = getattr(image, "tag_v2", {})
    if _DNG in tags or tags.get(_KIND_OF_PAGE, 0) & 1:
        raise DataError(
            "a camera's raw file, or a TIFF that begins with a preview.",
            "Develop it, and save it as PNG, TIFF or JPEG.",
        )


def _check_file(path: Path) -> None:
    if (fault := fault_of(path)) is None:
        if path.stat().st_size == 0:
            raise DataError(f"{shown(path)}: the file is empty.")
        return
    if is_folder(path):
        raise DataError(f"{shown(path)}: no image in this folder.", f"Looked for {' '.join(SUFFIXES)}.")
    if fault == "no such file" and any(sign in str(path) for sign in "*?["):
        fault = "nothing matches"
    raise DataError(f"{shown(path)}: {fault}.")


def _unknown(source: str | Path | bytes, name: str) -> DataError:
    """What the file is instead of an image, as far as its first bytes say it."""
    if isinstance(source, bytes):
        head = source[:MOST]
    else:
        with Path(source).open("rb") as file:
            head = file.read(MOST)
    if (found := what_it_is(head)) is not None:
        return DataError(f"{name}: not an image in a known format but {found[0]}.", found[1])
    return DataError(f"{name}: not an image in a known format ({', '.join(FORMATS)}).")
