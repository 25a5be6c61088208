"""Every kind of image file becomes upright RGB or one clear error."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from xai.core import DataError
from xai.data import read_image


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
