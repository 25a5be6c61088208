"""Names and files: distinct, safe, whole."""

import io
from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from xai.core import OutputError, UsageError
from xai.report import file_slug, file_slugs, save
from xai.report.picture import Layer, Picture, Placed, TextLine, edges, write_png

LABELS = [
    "real",
    "fake",
    "Real",
    "a/b",
    "a\\b",
    "a b",
    "a-b",
    "a_b",
    "a:b",
    "../../etc/passwd",
    "..",
    ".",
    "",
    " ",
    "-",
    "con",
    "CON",
    "nul.txt",
    "com1",
    "LPT9",
    "真实",
    "真 实",
    "e\u0301",
    "\u00e9",
    "x" * 80,
    "x" * 81,
    "x" * 82,
    "面" * 60,
    "面" * 61,
    "tail.",
    "tail",
    "line\nbreak",
    "nul\0byte",
    "class",
    "\udcff",
    "<script>",
    'quote"',
    "a?b*c|d",
]


@pytest.mark.parametrize("label", ["real", "fake", "tiger_cat", "face-swap", "v1.5", "真实", "Größe"])
def test_ordinary_names_stay(label):
    assert file_slug(label) == label


@pytest.mark.parametrize("label", LABELS)
def test_slug_is_a_file_name_on_every_system(label):
    slug = file_slug(label)
    assert 0 < len(slug.encode()) <= 80
    assert not set(slug) & set('<>:"/\\|?*\0 \n') and slug.isprintable()
    assert slug[0] not in ".-" and slug[-1] not in ".- "
    assert slug.split(".")[0].lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}
    assert file_slug(label) == slug


def test_slugs_differ_where_a_file_system_ignores_case():
    names = ["Fake", "fake", "FAKE", "real", "a/b", "a:b", "Stra\u00dfe", "strasse", "K\u212a", "kk"]
    slugs = file_slugs(names)
    assert len({slug.casefold() for slug in slugs.values()}) == len(names)
    assert slugs["real"] == "real"
    assert file_slugs(reversed(names)) == slugs


def test_slugs_stand_apart_behind_names_of_images():
    slugs = file_slugs(["swap", "face_swap", "my_face_swap", "face_swaps"])
    assert (slugs["swap"], slugs["face_swaps"]) == ("swap", "face_swaps")
    images = ["0", "0_face", "0_my", "0_my_face"]
    assert len({f"{image}_{slug}" for image in images for slug in slugs.values()}) == 16


def test_distinct_labels_have_distinct_slugs():
    slugs = {label: file_slug(label) for label in LABELS}
    slugs |= {slug: file_slug(slug) for slug in slugs.values()}  # a class may be named like another's slug
    assert len(set(slugs.values())) == len(slugs), [
        pair for pair in combinations(slugs, 2) if slugs[pair[0]] == slugs[pair[1]]
    ]


def chart() -> Figure:
    drawn = Figure((1, 1), dpi=40)
    drawn.add_artist(drawn.text(0.5, 0.5, "x"))
    return drawn


def picture() -> Picture:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 20, 3), np.uint8)
    line = TextLine("x", 0.1, 0.1, 9, False, "#1a1a1a", "left")
    return Picture(1, 1, 40, (Placed(Layer.of(pixels), 0.3, 0.2, 0.5, 0.75),), (), (line,))


@pytest.mark.parametrize("figure", [chart, picture])
@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_save_writes_the_format_of_the_ending(tmp_path, ending, figure):
    path = tmp_path / f"picture.{ending}"
    save(figure(), path)
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending]
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("figure", [chart, picture])
def test_saved_pictures_are_the_same_every_time(tmp_path, figure):
    for name in ("a.png", "b.png"):
        save(figure(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_save_says_which_formats_there_are(tmp_path):
    with pytest.raises(UsageError, match=r"picture\.gif"):
        save(chart(), tmp_path / "picture.gif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("figure", "ending", "writer"),
    [
        (chart, "png", "xai.report.saving.write_png"),
        (picture, "png", "xai.report.saving.write_png"),
        (chart, "svg", "matplotlib.figure.Figure.savefig"),
    ],
)
def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch, figure, ending, writer):
    path = tmp_path / f"picture.{ending}"
    save(figure(), path)
    old = path.read_bytes()

    def fail(*arguments, **options):
        file = next(one for one in arguments if hasattr(one, "write"))
        file.write(b"half a pic")
        raise OSError("No space left on device")

    monkeypatch.setattr(writer, fail)
    with pytest.raises(OutputError, match="No space"):
        save(figure(), path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("height", [1, 63, 64, 65, 200])
def test_a_png_holds_every_pixel_its_resolution_and_what_made_it(height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, 7, 3), np.uint8)
    file = io.BytesIO()
    write_png(file, pixels, 220.5, "xai 1")
    read = Image.open(file)
    assert read.mode == "RGB" and (np.asarray(read) == pixels).all()
    assert read.info["Software"] == "xai 1"
    assert read.info["dpi"] == pytest.approx((220.5, 220.5), abs=0.02)


def test_a_picture_is_saved_pixel_by_pixel(tmp_path):
    one = picture()
    save(one, tmp_path / "a.png")
    save(one, tmp_path / "b.png", dpi=80)
    assert (np.asarray(Image.open(tmp_path / "a.png")) == one.pixels()).all()
    left, top, right, bottom = edges(one.layers[0], 40)
    assert (one.pixels()[top + 1 : bottom - 1, left + 1 : right - 1] == pixels_of(one)[1:-1, 1:-1]).all()
    assert Image.open(tmp_path / "b.png").size == (80, 80)


def pixels_of(one):
    return one.layers[0].layer.draw(one.layers[0].layer.size)
