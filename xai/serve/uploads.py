"""Images that a browser sends: so many bytes, pixels and files, decoded as `xai explain` decodes them."""

from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from xai.core import DataError, UsageError, printable
from xai.core.language import gettext
from xai.data.image import opened, read_turned

LONGEST_NAME = 150  # characters that are kept of a file's name


@dataclass(frozen=True)
class Limits:
    """What is taken.

    Args:
        images: Files at once.
        megabytes: Of a file.
        megapixels: Of all images together; one image may have as many as `xai explain` takes.
    """

    images: int = 50
    megabytes: int = 50
    megapixels: int = 400

    def __post_init__(self) -> None:
        if min(self.images, self.megabytes, self.megapixels) < 1:
            raise UsageError("Limits of uploads are 1 or more.")


class TooLargeError(DataError):
    """A request with more bytes than are taken."""


async def read_body(stream: AsyncIterable[bytes], most: int, what: str, hint: str | None = None) -> bytes:
    """The body of a request, of which no more is read than is taken.

    Args:
        stream: Its pieces.
        most: Bytes.
        what: It is, for the message.
        hint: What to do about one that is too large.

    Raises:
        TooLargeError: There are more bytes.
    """
    found = bytearray()
    async for piece in stream:
        found += piece
        if len(found) > most:
            limit = f"{most / 1e6:g} MB"
            raise TooLargeError(gettext("{what}: larger than {limit}.", what=what, limit=limit), hint)
    return bytes(found)


def file_name(given: str) -> str:
    """The last part of a name that a browser gave, on one line, never empty."""
    name = printable(PurePosixPath(given.replace("\\", "/")).name).strip()
    return name[-LONGEST_NAME:] if name.strip(".") else "image"


def decode(content: bytes, name: str, pixels_left: int) -> Image.Image:
    """An upload as `xai.data.read_image` would read it as a file.

    Args:
        content: Of the file.
        name: For messages.
        pixels_left: So many may still be held; asked of the header, before anything is decoded.

    Raises:
        DataError: No image, broken, or larger than is taken.
    """
    if not content:
        raise DataError(gettext("{name}: the file is empty.", name=name))
    with opened(content, name) as image:
        wanted = image.width * image.height
    if wanted > pixels_left:
        raise DataError(
            gettext(
                "{name}: has {size} megapixels, and there is room for {left} more.",
                name=name,
                size=f"{wanted / 1e6:.1f}",
                left=f"{pixels_left / 1e6:.1f}",
            ),
            gettext("Remove images, or start xai serve with a larger --max-megapixels."),
        )
    return read_turned(content, name)[0]
