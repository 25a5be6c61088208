"""Hostile and broken images: modes, depths, sizes, metadata, lying headers, damage."""

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from random import Random

from benchmarks.robustness.mutate import NAMES, broken_bytes
from benchmarks.robustness.valid import METHOD, Valid

FORMATS = {
    "PNG": "png",
    "JPEG": "jpg",
    "TIFF": "tif",
    "GIF": "gif",
    "WEBP": "webp",
    "BMP": "bmp",
    "PPM": "ppm",
    "JPEG2000": "jp2",
    "AVIF": "avif",
    "TGA": "tga",
    "ICO": "ico",
    "PCX": "pcx",
}
MODES = (
    "RGB",
    "RGB",
    "RGBA",
    "L",
    "LA",
    "P",
    "1",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "I;16",
    "F",
    "PA",
    "RGBX",
)
SIDES = (1, 2, 3, 7, 31, 32, 33, 40, 64, 100)
BOMB = (20_000, 65_500, 2**31 - 1, 0, 2**32 - 1)


def make(rng: Random, valid: Valid, folder: Path) -> list[str]:
    """One to three images, the first of them odd, given to a command that reads images."""
    inputs = folder / "in"
    inputs.mkdir()
    content, suffix = odd_image(rng, valid)
    path = inputs / f"{odd_name(rng)}.{suffix}"
    try:
        path.write_bytes(content)
    except (OSError, ValueError):  # a name that this file system refuses
        path = inputs / f"x.{suffix}"
        path.write_bytes(content)
    if rng.random() < 0.02:
        _replace_by_special(rng, path)
    if rng.random() < 0.3:
        (inputs / "good.png").write_bytes(valid.photo.read_bytes())
    given = str(inputs if rng.random() < 0.3 else path)
    if rng.random() < 0.45:
        kinds = rng.choice(
            ("noise", "upsampling,blur", "copy_move,splice", "self_blend,seam,color", "resampling")
        )
        return ["forge", given, "--size", "32", "--count", "2", "--kinds", kinds, "--out", "out"]
    model = ["--config", str(valid.detector)] if rng.random() < 0.7 else ["--model", f"local:{valid.hf}"]
    extra = rng.choice(([], [], [], [], ["--report"], ["--json"], ["--box", "0,0,5,5"]))
    return ["explain", given, *model, *METHOD, "--out", "out", *extra]


def odd_image(rng: Random, valid: Valid) -> tuple[bytes, str]:
    """Bytes and the name's ending, which may say another format."""
    how = rng.random()
    if how < 0.25:
        content, suffix = valid.photo.read_bytes(), "png"
        content = LYING[rng.randrange(len(LYING))](rng, content)
    else:
        content, suffix = encoded(rng)
    if how > 0.5 or rng.random() < 0.2:
        content = broken_bytes(rng, content, valid.weights.read_bytes() if rng.random() < 0.1 else b"")
    if rng.random() < 0.1:
        suffix = rng.choice((*FORMATS.values(), "PNG", "jpeg.png", "heic", "txt"))
    return content, suffix


def odd_name(rng: Random) -> str:
    """A file name without its ending, mostly a plain one."""
    return "x" if rng.random() < 0.85 else rng.choice(NAMES).replace("/", "_") or "x"


def encoded(rng: Random) -> tuple[bytes, str]:
    """An image of any mode and size in any format, with metadata, palettes, profiles, frames."""
    from PIL import Image

    for _ in range(20):  # not every format takes every mode
        name, mode = rng.choice(list(FORMATS)), rng.choice(MODES)
        if name == "AVIF":  # PIL's encoder dies of other modes and of odd metadata: not what is tried here
            mode = "RGB"
        size = rng.choice(SIDES), rng.choice(SIDES)
        if rng.random() < 0.05:
            size = rng.choice(((1, 5000), (5000, 1), (2000, 2), (3000, 2000)))
        try:
            image = Image.new(mode, size)
            image.frombytes(rng.randbytes(len(image.tobytes())))
            if name == "GIF":  # quantising frames of noise of many megapixels takes PIL half a minute
                image = image.crop((0, 0, min(size[0], 600), min(size[1], 600)))
            buffer = BytesIO()
            image.save(buffer, name, **save_options(rng, name, image))
            return buffer.getvalue(), FORMATS[name]
        except Exception:  # noqa: S112 - a pair that PIL does not write; another is drawn
            continue
    return b"", "png"


def save_options(rng: Random, name: str, image) -> dict:
    """What the format can say besides pixels."""
    from PIL import Image

    options: dict = {}
    if name == "AVIF":
        return options
    if rng.random() < 0.4:
        exif = Image.Exif()
        exif[0x0112] = rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 65_535))  # orientation
        if rng.random() < 0.5:
            exif[rng.choice((0x010F, 0x9286, 0x8769, 0x0132))] = rng.choice(
                (1, "x" * 500, "\x00", b"\xff\x00")
            )
        options["exif"] = exif.tobytes()
        if rng.random() < 0.3:
            options["exif"] = broken_bytes(rng, options["exif"])
    if rng.random() < 0.3:
        options["icc_profile"] = rng.randbytes(rng.choice((0, 1, 128, 4000)))
    if name == "TIFF":
        compressions = ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "tiff_adobe_deflate", "group4")
        options["compression"] = rng.choice(compressions)
    if name in ("GIF", "TIFF", "WEBP", "PNG") and rng.random() < 0.3:
        frames = [image.resize(rng.choice(((4, 4), image.size))) for _ in range(rng.choice((1, 3)))]
        options |= {"save_all": True, "append_images": frames, "duration": rng.choice((0, 10)), "loop": 0}
    if image.mode == "P" and rng.random() < 0.7:
        image.putpalette(rng.randbytes(3 * rng.choice((1, 2, 16, 255, 256))))
        options["transparency"] = rng.choice((0, 255, b"\x00\x80"))
    if name == "PNG":
        options |= {"bits": rng.choice((1, 2, 4, 8))} if image.mode == "P" else {}
        options |= {"interlace": 1} if rng.random() < 0.2 else {}
    if name in ("JPEG", "WEBP"):
        options |= {"quality": rng.choice((1, 50, 100)), "progressive": rng.random() < 0.5}
    if rng.random() < 0.1:
        options["dpi"] = rng.choice(((0, 0), (1e6, 1), (1, 1)))
    return options


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each chunk."""
    chunks, at = [], 8
    while at + 8 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += length + 12
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of the chunks, with right checksums, so that readers go on to what the chunks say."""
    parts = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _lying_size(rng: Random, content: bytes) -> bytes:
    chunks = png_chunks(content)
    width, height = (rng.choice((*BOMB, 1, 40)) for _ in range(2))
    return png_of([(b"IHDR", struct.pack(">II", width, height) + chunks[0][1][8:]), *chunks[1:]])


def _lying_depth(rng: Random, content: bytes) -> bytes:
    chunks = png_chunks(content)
    said = bytes(
        (rng.choice((1, 2, 4, 8, 16, 3, 0)), rng.choice((0, 2, 3, 4, 6, 5)), 0, 0, rng.choice((0, 1, 2)))
    )
    return png_of([(b"IHDR", chunks[0][1][:8] + said), *chunks[1:]])


def _odd_chunks(rng: Random, content: bytes) -> bytes:
    chunks = png_chunks(content)
    more = [
        (b"tEXt", b"a\x00" + b"b" * rng.choice((0, 10, 70_000))),
        (b"zTXt", b"a\x00\x00" + zlib.compress(bytes(rng.choice((10, 3_000_000))))),  # text that swells
        (b"iCCP", b"a\x00\x00" + zlib.compress(rng.randbytes(200))),
        (b"eXIf", rng.randbytes(30)),
        (b"PLTE", rng.randbytes(rng.choice((3, 4, 768)))),
        (b"tRNS", rng.randbytes(rng.choice((1, 2, 6)))),
        (b"acTL", struct.pack(">II", 2**31, 0)),
        (b"fcTL", rng.randbytes(26)),
        (b"IDAT", b""),
        (b"abcd", b""),
        (b"\x00\x01\x02\x03", b"x"),
    ]
    how = rng.randrange(4)
    if how < 2:
        chunks.insert(rng.randrange(len(chunks)), rng.choice(more))
    elif how == 2:
        del chunks[rng.randrange(len(chunks))]
    else:
        rng.shuffle(chunks)
    return png_of(chunks)


def _bomb(rng: Random, content: bytes) -> bytes:
    """A small file of very many pixels, its header telling the truth: near and above the limit of readers."""
    side = rng.choice((2000, 9000, 13_000, 20_000))
    rows = zlib.compressobj(9)
    row = bytes(1 + -(-side // 8))
    packed = b"".join(rows.compress(row * 100) for _ in range(side // 100)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return png_of([(b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")])


def _foreign(rng: Random, content: bytes) -> bytes:
    """What only looks like an image, or is none."""
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/hostname"/></svg>'
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(CODE-RAN) (w) file closefile\n"
    return rng.choice(
        (
            b"",
            b"\x00",
            svg,
            eps,
            b"%PDF-1.4\n",
            b"GIF89a",
            b"P6\n99999 99999\n255\n",
            b"P3 2 2 255 1 1",
            b"BM" + bytes(60),
            b"\xff\xd8\xff\xd9",
            b"RIFF\x00\x00\x00\x00WEBPVP8 ",
            content[:8],
        )
    )


LYING: tuple[Callable[[Random, bytes], bytes], ...] = (
    *[_lying_size, _lying_depth, _odd_chunks] * 8,
    _foreign,
    _foreign,
    _bomb,
)


def _replace_by_special(rng: Random, path: Path) -> None:
    """No file but a link, a loop, a folder, a pipe that nobody writes to."""
    path.unlink()
    pick = rng.randrange(5)
    if pick == 0:
        path.symlink_to(path.name)
    elif pick == 1:
        path.symlink_to("no-such-file")
    elif pick == 2:
        path.mkdir()
    elif pick == 3:
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
