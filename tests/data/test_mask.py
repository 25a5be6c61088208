"""What a mask says: the same square from every tool, or an error with the values where it is ambiguous."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from xai.core import DataError
from xai.data.mask import DisplaySize, read_mask

HEIGHT, WIDTH = 40, 48
SQUARE = np.zeros((HEIGHT, WIDTH), bool)
SQUARE[10:26, 12:32] = True
PHOTO = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def grey(outside, inside, dtype=np.uint8):
    return Image.fromarray(np.where(SQUARE, inside, outside).astype(dtype))


def coloured(outside, inside):
    return Image.fromarray(np.where(SQUARE[..., None], inside, outside).astype(np.uint8))


def palette(colours, indices=SQUARE):
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette([level for colour in colours for level in colour])
    return image


def painted(colour, alpha, hidden=(0, 0, 0)):
    rgb = np.where((np.asarray(alpha) > 0)[..., None], colour, hidden).astype(np.uint8)
    return Image.fromarray(np.dstack([rgb, np.asarray(alpha, np.uint8)]))


def with_alpha(rgb, alpha):
    return Image.fromarray(np.dstack([rgb, np.asarray(alpha, np.uint8)]).astype(np.uint8))


def soft(sigma):
    return grey(0, 255).filter(ImageFilter.GaussianBlur(sigma))


UNAMBIGUOUS = {
    "0 and 1": (grey(0, 1), "png"),
    "0 and 255": (grey(0, 255), "png"),
    "0 and 38": (grey(0, 38), "png"),
    "video levels": (grey(16, 235), "png"),
    "one bit": (Image.fromarray(SQUARE), "png"),
    "one bit, tiff": (Image.fromarray(SQUARE), "tif"),
    "16 bits": (grey(0, 65535, np.uint16), "png"),
    "16 bits, 1": (grey(0, 1, np.uint16), "tif"),
    "16 bits, 255": (grey(0, 255, np.uint16), "png"),
    "32 bits": (grey(0, 7, np.int32), "tif"),
    "float": (grey(0, 1, np.float32), "tif"),
    "float, half": (grey(0, 0.5, np.float32), "tif"),
    "soft float": (Image.fromarray(np.asarray(soft(0.6), np.float32) / 255), "tif"),
    "red on black": (coloured((0, 0, 0), (255, 0, 0)), "png"),
    "nearly black blue": (coloured((0, 0, 0), (0, 0, 3)), "png"),
    "palette of annotation tools": (palette([(0, 0, 0), (128, 0, 0)]), "png"),
    "palette by its colours": (palette([(255, 255, 255), (0, 0, 0)], ~SQUARE), "png"),
    "palette, gif": (palette([(0, 0, 0), (255, 255, 255)]), "gif"),
    "white paint": (painted((255, 255, 255), SQUARE * 255), "png"),
    "green paint over hidden red": (painted((0, 200, 0), SQUARE * 255, (255, 0, 0)), "png"),
    "faint paint": (painted((255, 0, 0), SQUARE * 90), "png"),
    "opaque": (
        with_alpha(np.asarray(coloured((0, 0, 0), (255, 255, 255))), np.full(SQUARE.shape, 255)),
        "png",
    ),
    "half transparent everywhere": (
        with_alpha(np.asarray(coloured((0, 0, 0), (9, 0, 0))), np.full(SQUARE.shape, 128)),
        "png",
    ),
    "grey and alpha": (Image.merge("LA", (grey(255, 255), grey(0, 255))), "png"),
    "antialiased": (soft(0.7), "png"),
    "photographic": (grey(0, 255), "jpg"),
    "photographic, poor": (grey(3, 250), "jpg"),
}


@pytest.mark.parametrize("name", UNAMBIGUOUS)
def test_what_is_unambiguous_is_read(tmp_path, name):
    image, kind = UNAMBIGUOUS[name]
    path = tmp_path / f"m.{kind}"
    image.save(path, **({"quality": 40} if kind == "jpg" else {}))
    found = read_mask(path, DisplaySize((WIDTH, HEIGHT)))
    assert found.dtype == bool
    assert np.array_equal(found, SQUARE)
    assert np.array_equal(read_mask(path.read_bytes(), DisplaySize((WIDTH, HEIGHT))), SQUARE)


THIRD = np.where(SQUARE, 255, 0).astype(np.uint8)
THIRD[:, 24:] //= 2
CLASSES = np.repeat(np.arange(4, dtype=np.uint8) * 85, 12)[None].repeat(HEIGHT, 0)

AMBIGUOUS = {
    "three values": (Image.fromarray(THIRD), "values 0, 127, 255"),
    "three low values": (Image.fromarray(CLASSES[:, :36] // 85 * 64), "values 0, 64, 128"),
    "four classes": (Image.fromarray(CLASSES), "values 0, 85, 170, 255"),
    "1 and 2": (grey(1, 2), "values 1, 2"),
    "mid grey and white": (grey(128, 255), "values 128, 255"),
    "one grey": (grey(64, 64), "values 64"),
    "negative": (grey(-1, 1, np.int32), "values -1, 1"),
    "a photograph": (Image.fromarray(PHOTO), "colours"),
    "a grey photograph": (Image.fromarray(PHOTO[..., 0]), r"\(\d+ of them\)"),
    "a blurred heat map": (soft(9), "of them"),
    "two colours without black": (coloured((255, 255, 255), (255, 0, 0)), "#ff0000, #ffffff"),
    "three colours": (palette([(0, 0, 0), (9, 0, 0), (0, 9, 0)], CLASSES // 85 % 3), "#000900, #090000"),
    "a palette of one colour": (palette([(7, 7, 7), (7, 7, 7)]), "indices 0, 1"),
    "a photograph cut out": (with_alpha(PHOTO, SQUARE * 255), "do not agree"),
    "black around a hole": (painted((0, 0, 0), ~SQUARE * 255), "do not agree"),
    "colours and alpha that differ": (
        with_alpha(np.asarray(coloured((0, 0, 0), (255, 255, 255))), 255 - SQUARE[::-1] * 255),
        "do not agree",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_is_not_is_refused_with_its_values(tmp_path, name):
    image, words = AMBIGUOUS[name]
    path = tmp_path / f"m.{'tif' if image.mode == 'I' else 'png'}"
    image.save(path)
    with pytest.raises(DataError, match=words) as caught:
        read_mask(path, DisplaySize(image.size))
    assert str(path) in caught.value.message
    assert "black outside" in caught.value.hint


def test_values_of_0_and_1_that_a_lossy_format_may_have_made_are_refused(tmp_path):
    Image.fromarray(np.tile(np.array([0, 6], np.uint8), (32, 4)).repeat(8, 1)).save(
        tmp_path / "m.jpg", quality=95
    )
    with pytest.raises(DataError, match="do not say what is inside"):
        read_mask(tmp_path / "m.jpg", DisplaySize((64, 32)))


@pytest.mark.parametrize(("level", "inside"), [(0, False), (1, True), (255, True)])
def test_one_value_is_nothing_or_everything(tmp_path, level, inside):
    Image.new("L", (6, 4), level).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png", DisplaySize((6, 4))) == inside).all()


def test_nothing_painted_is_empty_and_a_tiff_may_say_that_white_is_0(tmp_path):
    Image.new("RGBA", (6, 4), (255, 255, 255, 0)).save(tmp_path / "m.png")
    assert not read_mask(tmp_path / "m.png", DisplaySize((6, 4))).any()
    grey(65535, 0, np.uint16).save(tmp_path / "m.tif", tiffinfo={262: 0})
    assert np.array_equal(read_mask(tmp_path / "m.tif", DisplaySize((WIDTH, HEIGHT))), SQUARE)


def test_several_frames_are_refused(tmp_path):
    grey(0, 255).save(tmp_path / "m.tif", save_all=True, append_images=[grey(255, 0)])
    with pytest.raises(DataError, match="several frames or pages"):
        read_mask(tmp_path / "m.tif", DisplaySize((WIDTH, HEIGHT)))


TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 5: "TRANSPOSE", 6: "ROTATE_270", 8: "ROTATE_90"}


@pytest.mark.parametrize("orientation", [5, 6, 8])
def test_a_mask_follows_the_image_as_shown_or_as_stored_by_its_size(tmp_path, orientation):
    stored = grey(0, 255)
    upright = stored.transpose(Image.Transpose[TURNS[orientation]])
    shown, inside = DisplaySize(upright.size, orientation), np.asarray(upright) > 0
    for name, image in (("stored.png", stored), ("upright.png", upright)):
        image.save(tmp_path / name)
        assert np.array_equal(read_mask(tmp_path / name, shown), inside)
    exif = Image.Exif()
    exif[274] = orientation
    stored.save(tmp_path / "tagged.png", exif=exif)
    assert np.array_equal(read_mask(tmp_path / "tagged.png", shown), inside)
    upright.save(
        tmp_path / "twice.png", exif=exif
    )  # its pixels are turned already, its tag says to do it again
    with pytest.raises(DataError, match=f"has {WIDTH} × {HEIGHT} pixels, its image {HEIGHT} × {WIDTH}"):
        read_mask(tmp_path / "twice.png", shown)


@pytest.mark.parametrize("orientation", [2, 3])
def test_where_both_fit_the_mask_has_to_say_which(tmp_path, orientation):
    shown = DisplaySize((WIDTH, HEIGHT), orientation)
    grey(0, 255).save(tmp_path / "m.png")
    with pytest.raises(
        DataError, match=r"both as stored and as shown(.|\n)*give the mask an EXIF orientation"
    ):
        read_mask(tmp_path / "m.png", shown)
    exif = Image.Exif()
    for tag, expected in ((1, SQUARE), (orientation, np.asarray(grey(0, 255).transpose(
        Image.Transpose[TURNS[orientation]])) > 0)):  # fmt: skip
        exif[274] = tag
        grey(0, 255).save(tmp_path / "m.png", exif=exif)
        assert np.array_equal(read_mask(tmp_path / "m.png", shown), expected)
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "empty.png")
    assert not read_mask(tmp_path / "empty.png", shown).any()


def test_another_size_is_refused(tmp_path):
    grey(0, 255).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=f"m.png has {WIDTH} × {HEIGHT} pixels, its image {HEIGHT} × {WIDTH}"):
        read_mask(tmp_path / "m.png", DisplaySize((HEIGHT, WIDTH)))


def test_a_soft_edge_thresholded_channel_by_channel_is_inside_as_deepfakebench_saves_it(tmp_path):
    """The edge is not quite grey, so that over a threshold of 1 some channels are full before the others."""
    edge = np.asarray(soft(1.5)).astype(int)[..., None] + np.array([0, -2, 1])
    saved = np.where(edge > 1, 255, 0).astype(np.uint8)
    assert len(np.unique(saved.reshape(-1, 3), axis=0)) > 2
    Image.fromarray(saved).save(tmp_path / "mask.png")
    found = read_mask(tmp_path / "mask.png", DisplaySize((WIDTH, HEIGHT)))
    assert (found == saved.any(-1)).all() and found[SQUARE].all()


@pytest.mark.parametrize("rows", [slice(10, 18), slice(17, 19)], ids=["half", "a stripe in the middle"])
def test_a_label_map_of_full_colours_stays_refused(tmp_path, rows):
    labels = np.array(coloured((0, 0, 0), (255, 255, 255)))
    labels[rows, 12:32] = 255, 0, 0
    labels[13:15, 18:26] = 255, 0, 0
    Image.fromarray(np.kron(labels, np.ones((4, 4, 1), np.uint8))).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match="#ff0000"):
        read_mask(tmp_path / "mask.png", DisplaySize((4 * WIDTH, 4 * HEIGHT)))
