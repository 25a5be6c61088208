"""Images: read, or refused by what they hold."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from xai.core import DataError
from xai.core.files import fault_of, is_folder, short_path

MOST = 1024  # bytes looked at

_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"}
_AVIF = {b"avif", b"avis"}
_AS_IMAGE = "Save it as PNG or JPEG"
_AS_HEIC = f"{_AS_IMAGE}, for example with pip install pillow-heif and its heif-convert or PIL plugin."
_FRAME = "xai explain and xai.explain_video read it, frame by frame; elsewhere save its frames as images."
_RAW = "Develop it, and save it as PNG, TIFF or JPEG."

# (offset, bytes, what it is, what to do)
_BEGINNINGS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\xff\x0a", "a JPEG XL image", f"{_AS_IMAGE}."),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image", f"{_AS_IMAGE}."),
    (0, b"8BPS", "a Photoshop document", f"{_AS_IMAGE}."),
    (0, b"%PDF", "a PDF document", f"{_AS_IMAGE}."),
    (0, b"%!PS", "a PostScript document", f"{_AS_IMAGE}."),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document", f"{_AS_IMAGE}."),
    (0, b"v/1\x01", "an OpenEXR image", f"{_AS_IMAGE}."),
    (0, b"#?RADIANCE", "a Radiance HDR image", f"{_AS_IMAGE}."),
    (0, b"DDS ", "a DirectDraw surface", f"{_AS_IMAGE}."),
    (0, b"\0\0\1\0", "an icon", f"{_AS_IMAGE}."),
    (8, b"CR\x02", "a camera's raw file", _RAW),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file", _RAW),
    (0, b"IIRO", "a camera's raw file", _RAW),
    (0, b"IIRS", "a camera's raw file", _RAW),
    (0, b"MMOR", "a camera's raw file", _RAW),
    (0, b"IIU\0", "a camera's raw file", _RAW),
    (0, b"\x1aE\xdf\xa3", "a video (Matroska or WebM)", _FRAME),
    (8, b"AVI ", "a video (AVI)", _FRAME),
    (0, b"\0\0\1\xba", "a video (MPEG)", _FRAME),
    (0, b"\0\0\1\xb3", "a video (MPEG)", _FRAME),
    (0, b"FLV", "a video (Flash)", _FRAME),
    (0, b"0&\xb2u\x8ef\xcf\x11", "a video (Windows Media)", _FRAME),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Fetch it: git lfs pull"),
    (0, b"PK\x03\x04", "a ZIP archive", "Unpack it."),
    (0, b"\x1f\x8b", "a gzip archive", "Unpack it."),
    (0, b"\x93NUMPY", "a NumPy array", f"{_AS_IMAGE}."),
    (0, b"<svg", "an SVG drawing", f"{_AS_IMAGE}."),
    (0, b"<!doctype html", "a web page, perhaps of a failed download", "Download the image again."),
    (0, b"<html", "a web page, perhaps of a failed download", "Download the image again."),
)
# formats of photographs; above all not EPS and PDF, which PIL would hand to an interpreter
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
SUFFIXES = (".apng .avif .bmp .gif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .ppm .tif .tiff .webp").split()  # noqa: SIM905 - read as one line
ORIENTATION = 274  # EXIF and TIFF tag
_KIND_OF_PAGE, _BITS, _PHOTOMETRIC, _DNG = 254, 258, 262, 50706  # TIFF tags
_NO_TAGS: Mapping[int, Any] = MappingProxyType({})


def what_it_is(head: bytes) -> tuple[str, str] | None:
    """Name what the bytes begin, and say what to do with it; None where that is not known.

    Args:
        head: The first `MOST` bytes of a file.
    """
    if head[4:8] == b"ftyp":
        return _container(head)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for offset, sign, words, advice in _BEGINNINGS:
        if head[offset : offset + len(sign)] == sign or (sign[:1] == b"<" and text.startswith(sign)):
            return words, advice
    if text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text:
        return "an SVG drawing", f"{_AS_IMAGE}."
    return None


def _container(head: bytes) -> tuple[str, str]:
    """ISO base media (ISO/IEC 14496-12): the major brand, then those it is compatible with."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
    if brands & _AVIF:
        return "AVIF, which this build of Pillow cannot read", f"{_AS_IMAGE}."
    if brands & _HEIC:
        return "a HEIC/HEIF photograph", _AS_HEIC
    if b"crx " in brands:
        return "a camera's raw file", _RAW
    return "a video (MP4 or QuickTime)", _FRAME


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
    name = short_path(name or source) if not isinstance(source, bytes) or name else "image"
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


def as_shown(image: Image.Image, name: str, turned: bool = True) -> Image.Image:
    """A picture in memory as `read_image` gives that of a file: upright 8-bit RGB.

    Args:
        image: Of any mode, perhaps not loaded yet, with the EXIF orientation that it came with.
        name: For messages.
        turned: Whether it is turned as that says; not where masks or points belong to it as it is.

    Raises:
        DataError: It has no pixels, cannot be loaded, or is 32-bit grey.
    """
    try:
        if 0 in image.size:
            raise DataError(f"no pixels ({image.width}×{image.height}).")
        tags = getattr(image, "tag_v2", _NO_TAGS)
        return to_rgb(ImageOps.exif_transpose(image) if turned else image, image.format, tags)
    except DataError as error:
        raise DataError(f"{name}: {error.message}", error.hint) from None
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
            raise DataError(f"{short_path(path)}: the file is empty.")
        return
    if is_folder(path):
        raise DataError(f"{short_path(path)}: no image in this folder.", f"Looked for {' '.join(SUFFIXES)}.")
    if fault == "no such file" and any(sign in str(path) for sign in "*?["):
        fault = "nothing matches"
    raise DataError(f"{short_path(path)}: {fault}.")


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
