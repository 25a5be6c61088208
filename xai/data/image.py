"""From an image file to upright RGB."""

import warnings
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from xai.core import DataError

# formats of photographs; above all not EPS and PDF, which PIL would hand to an interpreter
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
SUFFIXES = (".apng .avif .bmp .gif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .ppm .tif .tiff .webp").split()  # noqa: SIM905 - read as one line


def read_image(path: str | Path) -> Image.Image:
    """Read an image as upright 8-bit RGB at its own resolution.

    The first frame of an animation, turned as its EXIF orientation says. Transparent pixels lie over white,
    16-bit grey is scaled to 8 bit (65535 → 255), palettes and CMYK are resolved. Colour profiles are not
    applied, as image processors do not apply them either.

    An image is never read at a reduced size, since a detector's answer depends on the pixels. The size
    is read from the header first: more than 2 × `PIL.Image.MAX_IMAGE_PIXELS` (as shipped 178 956 970 pixels,
    540 MB as RGB) is an error before anything is decoded.

    Raises:
        DataError: Missing, not an image, truncated, too large, or of a kind without a known white level.
    """
    path = Path(path)
    _check_file(path)
    try:
        with warnings.catch_warnings():
            # PIL warns from half of the limit on, and about damaged metadata that does not matter here
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                return to_rgb(ImageOps.exif_transpose(image), image.format)
    except DataError as error:
        raise DataError(f"{path}: {error.message}", error.hint) from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise DataError(
            f"{path}: larger than {limit} megapixels.", "Save it smaller, or cut out the part to explain."
        ) from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image in a known format ({', '.join(FORMATS)}).") from None
    except MemoryError:
        raise DataError(f"{path}: not enough memory to read it.") from None
    except Exception as error:  # PIL's decoders raise whatever the broken bytes make them
        raise DataError(f"{path}: broken image ({error}).") from error


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise DataError(f"{path}: no image in this folder.", f"Looked for {' '.join(SUFFIXES)}.")
        if not path.exists():
            wild = any(sign in str(path) for sign in "*?[")
            raise DataError(f"{path}: {'nothing matches' if wild else 'no such file'}.")
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty.")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}.") from None


def to_rgb(image: Image.Image, file_format: str | None) -> Image.Image:
    """Any mode as RGB: 16 bits scaled rather than clipped, transparency over white.

    Raises:
        DataError: 32-bit grey, which has no agreed white level.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PNG"):
        # PIL's own conversion to 8 bit clips at 255
        return image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L").convert("RGB")
    if image.mode in ("I", "F"):
        raise DataError("32-bit grey has no agreed white level.", "Save it with 8 or 16 bits per channel.")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image.convert("RGB")
