"""A folder as people have it: every kind of image file, and a few broken ones."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from tiny_detector import photo


def write_mixed(folder: Path) -> list[Path]:
    """27 images of many kinds, and the 3 broken ones, which are returned."""
    (folder / "deeper").mkdir(parents=True)
    _by_mode(folder)
    _by_format(folder)
    _by_shape(folder)
    count = len(list(folder.glob("*.*")))
    for number in range(27 - count):
        photo(number, size=(30 + number, 50)).save(folder / "deeper" / f"face{number}.png")
    (folder / "notes.txt").write_text("no image, and not named as one")
    return _broken(folder)


def _by_mode(folder: Path) -> None:
    for mode in ("RGBA", "LA", "P", "1", "L"):
        photo(1).convert(mode).save(folder / f"mode-{mode}.png")
    photo(2).convert("CMYK").save(folder / "cmyk.jpg")
    wide = np.arange(40 * 40, dtype=np.uint16).reshape(40, 40) * 40
    Image.fromarray(wide).save(folder / "sixteen.png")
    Image.fromarray(wide).save(folder / "sixteen.tif")


def _by_format(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(3, size=(60, 40)).save(folder / "rotated.jpg", exif=exif)
    photo(4).save(folder / "UPPER.JPG")
    for suffix in ("webp", "bmp", "ppm"):
        photo(5).save(folder / f"plain.{suffix}")
    frames = [photo(number) for number in (6, 7)]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "animated.webp", save_all=True, append_images=frames[1:])


def _by_shape(folder: Path) -> None:
    photo(8, size=(1, 1)).save(folder / "one pixel.png")
    photo(9, size=(300, 20)).save(folder / "wide.png")
    photo(10, size=(20, 300)).save(folder / "tall.png")
    photo(11).save(folder / "名前 ü.png")


def _broken(folder: Path) -> list[Path]:
    truncated = folder / "truncated.png"
    photo(12, size=(64, 64)).save(truncated)
    truncated.write_bytes(truncated.read_bytes()[:3000])
    (folder / "text.jpg").write_text("not an image")
    huge = folder / "huge.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    huge.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + checksum + bytes(8) + b"IDAT")
    return [truncated, folder / "text.jpg", huge]
