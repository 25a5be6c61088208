"""Names and files: distinct, safe, whole."""

import io
from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from xai.core import OutputError, UsageError
from xai.report import file_slug, save

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


def test_distinct_labels_have_distinct_slugs():
    slugs = {label: file_slug(label) for label in LABELS}
    slugs |= {slug: file_slug(slug) for slug in slugs.values()}  # a class may be named like another's slug
    assert len(set(slugs.values())) == len(slugs), [
        pair for pair in combinations(slugs, 2) if slugs[pair[0]] == slugs[pair[1]]
    ]


def figure() -> Figure:
    drawn = Figure((1, 1), dpi=40)
    drawn.add_artist(drawn.text(0.5, 0.5, "x"))
    return drawn


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_save_writes_the_format_of_the_ending(tmp_path, ending):
    path = tmp_path / f"picture.{ending}"
    save(figure(), path)
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending]
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_saved_pictures_are_the_same_every_time(tmp_path):
    for name in ("a.png", "b.png"):
        save(figure(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_save_says_which_formats_there_are(tmp_path):
    with pytest.raises(UsageError, match=r"picture\.gif"):
        save(figure(), tmp_path / "picture.gif")
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    save(figure(), path)
    old = path.read_bytes()

    def fail(self, file: io.BytesIO, **options):
        file.write(b"half a pic")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OutputError, match="No space"):
        save(figure(), path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]
    assert np.asarray(Image.open(path)).shape[:2] == (40, 40)
