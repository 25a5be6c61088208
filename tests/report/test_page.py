"""The page: complete in itself, safe with any name, and saying what the pictures show."""

import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xai import data
from xai.core import Geometry
from xai.report import write_page

MAPS = {"real": np.full((4, 4), 0.2), "fake": np.eye(4)}
HOSTILE = '"><script src=//evil.example>'
KNOWN = {
    *("html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "section", "ul", "li", "main"),
    *("article", "div", "p", "table", "tr", "th", "td", "svg", "rect", "figure", "figcaption", "strong"),
    *("span", "img", "details", "summary", "footer"),
}


class Parsed(HTMLParser):
    """Elements with their attributes, and all text by element."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        self.text[self._open] = self.text.get(self._open, "") + f" {data}" * bool(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def page(tmp_path):
    def write(*explanations, title="Two images"):
        path = tmp_path / "page.html"
        write_page(explanations, path, title=title)
        return Parsed(path.read_text("utf-8"))

    return write


def pixels(image):
    kind, content = image["src"].split(",", 1)
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(BytesIO(b64decode(content))).convert("RGB")).astype(int)


def test_page_loads_nothing_and_runs_nothing(page, explained):
    parsed = page(explained(MAPS), explained(MAPS, name="other.png"))
    policy = next(
        m["content"] for m in parsed.all("meta") if m.get("http-equiv") == "Content-Security-Policy"
    )
    digest = b64encode(sha256(parsed.text["style"][1:].encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert {tag for tag, _ in parsed.elements} <= KNOWN
    for _, attributes in parsed.elements:
        assert not {"style", "href", "srcset"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:image/").startswith("data:image/")
    assert not re.search(r"https?:|url\(|@import|//", parsed.text["style"])


@pytest.mark.parametrize("where", ["title", "name", "label", "class", "model"])
def test_hostile_names_stay_text(page, explained, where):
    hostile = {"name": HOSTILE.replace("/", "_")} if where == "name" else {}
    hostile |= {"label": HOSTILE} if where == "label" else {}
    maps = {HOSTILE: MAPS["real"], "fake": MAPS["fake"]} if where == "class" else MAPS
    explanation = explained(maps, **hostile)
    if where == "model":
        explanation.model["<b>key</b>"] = {"inner": HOSTILE}
    parsed = page(explanation, title=HOSTILE if where == "title" else "safe")
    assert {tag for tag, _ in parsed.elements} <= KNOWN
    assert len(parsed.all("img")) == 5
    assert all(attributes["src"].startswith("data:") for attributes in parsed.all("img"))
    said = "".join(parsed.text.values())
    assert '"><script src=' in said


def test_page_shows_original_classes_difference_and_overlap(page, explained):
    parsed = page(explained(MAPS, size=(300, 200), seen=(50, 0, 250, 200), label="fake"))
    said = " ".join(parsed.text["strong"].split())
    assert said == "original real: 18.2% fake: 81.8% difference overlap"
    assert "predicted: fake (81.8%) · true class: fake" in parsed.text["p"]
    notes = parsed.text["p"]
    assert "Dimmed and hatched: not seen by the model." in notes
    assert "gradient_weighted_attention (layers last_4_layers, clamp fused)" in notes
    assert "fake − real; blue: more for real · orange: more for fake" in parsed.text["span"]
    facts = parsed.text["td"] + parsed.text["th"]
    for fact in ("300 × 200 pixels", "50, 0, 250, 200", "3f" * 32, "last_4_layers", "option clamp"):
        assert fact in facts


def test_pictures_have_their_size_a_description_and_the_right_colours(page, explained):
    values = np.zeros((4, 4))
    values[1, 3] = 1
    parsed = page(
        explained(
            {"real": values * 0, "fake": values}, size=(400, 200), seen=(100, 0, 300, 200), label="fake"
        )
    )
    images = parsed.all("img")
    assert len({image["alt"] for image in images}) == 5
    for image in images:
        assert image["alt"] and "photo.png" in image["alt"]
        assert pixels(image).shape == (int(image["height"]), int(image["width"]), 3)
    hot = np.ptp(pixels(images[2]), axis=-1) > 100
    rows, cols = np.nonzero(hot)
    factor = hot.shape[1] / 400
    assert abs(cols.mean() / factor - 275) < 12 and abs(rows.mean() / factor - 75) < 12
    assert np.ptp(pixels(images[1]), axis=-1).max() < 30
    assert "no evidence: the map is zero" in parsed.text["p"]


def test_one_map_is_shown_without_comparison(page, explained):
    parsed = page(explained({"fake": MAPS["fake"]}, labels=("real", "fake")))
    assert parsed.text["strong"].split() == ["original", "fake:", "81.8%"]


def test_page_without_images_says_so(page):
    assert "No image was explained." in page().text["p"]


def test_a_photograph_takes_less_than_150_kb(tmp_path, explained):
    path = next(Path(data.__file__).parent.glob("samples/parrot_real.png"))
    photo = Image.open(path).convert("RGB").resize((1200, 900))
    explanation = explained(MAPS)
    object.__setattr__(explanation.sample, "image", photo)
    object.__setattr__(explanation, "geometry", Geometry(photo.size, (150, 0, 1050, 900)))
    write_page([explanation], tmp_path / "page.html", title="x")
    assert (tmp_path / "page.html").stat().st_size < 150_000


def test_a_failed_page_leaves_the_old_one(tmp_path, explained):
    path = tmp_path / "page.html"
    write_page([explained(MAPS)], path, title="old")
    old = path.read_bytes()

    def broken():
        yield explained(MAPS)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_page(broken(), path, title="new")
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_pages_are_the_same_every_time(tmp_path, explained):
    for name in ("a.html", "b.html"):
        write_page([explained(MAPS)], tmp_path / name, title="x")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
