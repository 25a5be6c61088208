"""Every kind of image file becomes upright RGB or one clear error."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xai.core import DataError
from xai.data import read_image
from xai.data.image import read_turned, to_rgb


def gradient(mode="RGB", size=(8, 6)):
    ramp = np.linspace(0, 255, size[0] * size[1]).reshape(size[1], size[0]).astype(np.uint8)
    return Image.fromarray(ramp).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "RGBA", "LA", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("x.jpg" if mode in ("CMYK", "YCbCr") else "x.png")
    gradient(mode).save(path)
    image = read_image(path)
    assert (image.mode, image.size) == ("RGB", (8, 6))
    if mode != "1":  # dithered
        np.testing.assert_allclose(np.asarray(image)[..., 0], np.asarray(gradient()).mean(-1), atol=12)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(path)
    assert np.asarray(read_image(path))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_32_bit_grey_is_refused_since_white_is_unknown(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match=r"x\.tif.*white level"):
        read_image(tmp_path / "x.tif")


def test_transparent_pixels_lie_over_white(tmp_path):
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(tmp_path / "x.png")
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 200, 0, 0])
    palette.save(tmp_path / "p.png", transparency=1)
    for name in ("x.png", "p.png"):
        assert read_image(tmp_path / name).getpixel((0, 0)) == (255, 255, 255)


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright
    image = Image.new("RGB", (8, 4), "black")
    image.paste((255, 255, 255), (0, 0, 4, 4))
    image.save(tmp_path / "x.png", exif=exif)
    upright = read_image(tmp_path / "x.png")
    assert upright.size == (4, 8)
    assert upright.getpixel((0, 0)) == (255, 255, 255)
    assert upright.getpixel((0, 7)) == (0, 0, 0)


@pytest.mark.parametrize("suffix", ["gif", "webp", "apng"])
def test_animation_gives_its_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 4), color) for color in ("white", "black")]
    path = tmp_path / f"x.{suffix}"
    frames[0].save(path, format="PNG" if suffix == "apng" else None, save_all=True, append_images=frames[1:])
    assert read_image(path).getpixel((1, 1)) == (255, 255, 255)


def test_one_pixel(tmp_path):
    Image.new("L", (1, 1), 7).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").getpixel((0, 0)) == (7, 7, 7)


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (
        struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + struct.pack(">I", 9) + b"IDAT"
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_20000_by_20000_is_refused_from_the_header(tmp_path):
    (tmp_path / "x.png").write_bytes(png_header(20000, 20000))
    with pytest.raises(DataError, match="larger than 178 megapixels"):
        read_image(tmp_path / "x.png")


def test_large_photographs_are_read_without_a_warning(tmp_path, recwarn):
    Image.new("1", (10000, 10000)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").size == (10000, 10000)
    assert not recwarn.list


def broken(folder, kind):
    path = folder / f"{kind}.png"
    if kind == "truncated":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "text":
        path.write_text("not an image")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "postscript":
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "broken image"),
        ("text", "not an image"),
        ("postscript", "not an image"),
        ("empty", "empty"),
        ("missing", "no such file"),
        ("folder", "no image in this folder"),
    ],
)
def test_broken_files_are_one_data_error_with_the_path(tmp_path, kind, message):
    path = broken(tmp_path, kind)
    with pytest.raises(DataError, match=message) as caught:
        read_image(path)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 3


def test_a_glob_without_match_says_so(tmp_path):
    with pytest.raises(DataError, match="nothing matches"):
        read_image(tmp_path / "*.png")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), r"HEIC(.|\n)*pillow-heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heix" + bytes(40), "HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2" + bytes(40), "video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0crx isom" + bytes(40), "raw file"),
        (b"\xff\x0a\xfa\x1f" + bytes(40), "JPEG XL"),
        (b"8BPS\0\1" + bytes(40), "Photoshop"),
        (b"%PDF-1.7\n" + bytes(40), "PDF"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "SVG"),
        (b"<!DOCTYPE html><title>404</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x1aE\xdf\xa3" + bytes(40), "Matroska"),
    ],
)
def test_what_is_no_readable_image_is_named_by_its_content(tmp_path, head, words):
    (tmp_path / "photo.jpg").write_bytes(head)
    with pytest.raises(DataError, match=f"photo.jpg: not an image in a known format but (.|\n)*{words}"):
        try:
            read_image(tmp_path / "photo.jpg")
        except DataError as error:
            raise DataError(str(error)) from None


@pytest.mark.parametrize("kind", ["pipe", "loop", "NUL", "long", "device"])
def test_what_is_no_file_is_never_opened(tmp_path, kind):
    path = {"pipe": tmp_path / "p.png", "loop": tmp_path / "l.png", "NUL": tmp_path / "a\0.png"}.get(
        kind, tmp_path / ("x" * 300) if kind == "long" else Path("/dev/zero")
    )
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "loop":
        path.symlink_to(path.name)
    words = {
        "pipe": "named pipe",
        "loop": "symbolic links",
        "NUL": "NUL",
        "long": "too long",
        "device": "device",
    }
    with pytest.raises(DataError, match=words[kind]):
        read_image(path)


def test_white_of_12_bits_and_of_a_tiff_whose_white_is_0(tmp_path):
    values = np.array([[0, 2048, 4095, 4095]], np.uint16)
    packed = bytes([0x00, 0x08, 0x00, 0xFF, 0xFF, 0xFF])  # the same, two values in three bytes
    tags = [(256, 3, 4), (257, 3, 1), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
            (278, 3, 1), (279, 4, 6)]  # fmt: skip
    entries = b"".join(
        struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in tags
    )
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    (tmp_path / "12.tif").write_bytes(b"II*\0" + struct.pack("<I", 14) + packed + directory)
    assert np.asarray(read_image(tmp_path / "12.tif"))[0, :, 0].tolist() == [0, 128, 255, 255]
    Image.fromarray(values * 16).save(tmp_path / "0.tif", tiffinfo={262: 0})
    assert np.asarray(read_image(tmp_path / "0.tif"))[0, :, 0].tolist() == [255, 127, 0, 0]


def test_16_bit_pgm_and_premultiplied_grey(tmp_path):
    (tmp_path / "x.pgm").write_bytes(b"P5\n2 1\n65535\n\xff\xff\x00\x00")
    assert np.asarray(read_image(tmp_path / "x.pgm"))[0, :, 0].tolist() == [255, 0]
    grey = Image.new("LA", (1, 1), (200, 128)).convert("La")
    assert to_rgb(grey, None).getpixel((0, 0)) == to_rgb(grey.convert("LA"), None).getpixel((0, 0))


def test_a_tiff_that_begins_with_a_preview_is_not_read_as_it(tmp_path):
    gradient().save(tmp_path / "x.tif", tiffinfo={254: 1})
    with pytest.raises(DataError, match=r"x\.tif: a camera's raw file, or a TIFF that begins with a preview"):
        read_image(tmp_path / "x.tif")


def test_a_mask_can_ask_how_an_image_was_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    gradient().save(tmp_path / "x.jpg", exif=exif)
    gradient().save(tmp_path / "x.tif", tiffinfo={274: 6})  # PIL turns it while it loads it
    for name in ("x.jpg", "x.tif"):
        image, orientation = read_turned(tmp_path / name)
        assert (image.size, orientation) == ((6, 8), 6)
