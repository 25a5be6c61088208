"""The page as a file: well formed, closed to the outside, and holding its data to the last digit."""

import gzip
import json
import re
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from report_pages import benchmark_page, comparison_page, explanation_page

import xai.report.page as renderer
from xai.core import UsageError
from xai.report import to_html, write_data, write_page
from xai.report.image_payload import HEAVY
from xai.report.payload import Page

KINDS = {"explanation": explanation_page, "comparison": comparison_page, "benchmark": benchmark_page}
HOSTILE = '"><script src=//evil.example></script><img src=x onerror=alert(1)>'
VOID = {"meta", "link", "br", "hr", "img", "input", "wbr", "col", "source"}


class Parsed(HTMLParser):
    """Elements with their attributes, what scripts and styles hold, and whatever is not well formed."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, dict[str, str | None], str]] = []
        self.text: list[str] = []
        self.broken: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.broken += self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if len({name for name, _ in attrs}) < len(attrs):
            self.broken.append(f"an attribute twice in {tag}")
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("script", "style"):
            self.raw.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.broken.append(f"</{tag}>")

    def handle_data(self, data):
        if self._open and self._open[-1] in ("script", "style"):
            tag, attributes, text = self.raw[-1]
            self.raw[-1] = tag, attributes, text + data
        else:
            self.text.append(data)

    @property
    def blocks(self):
        return {
            attributes["id"]: text
            for tag, attributes, text in self.raw
            if tag == "script" and attributes.get("type") == "text/plain"
        }

    @property
    def policy(self):
        found = [a["content"] for _, a in self.elements if a.get("http-equiv") == "Content-Security-Policy"]
        (content,) = found
        return dict(rule.split(" ", 1) for rule in content.split("; "))


def unpacked(block):
    return json.loads(gzip.decompress(b64decode(block)))


def digest(text):
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


@pytest.fixture(scope="module", params=KINDS)
def page(request):
    return KINDS[request.param]()


@pytest.fixture(scope="module")
def parsed(page):
    return Parsed(to_html(page))


def test_every_element_is_closed_and_every_id_there_once(parsed):
    assert not parsed.broken
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_nothing_is_fetched_and_only_its_own_scripts_run(parsed):
    scripts = [text for tag, a, text in parsed.raw if tag == "script" and a.get("type") != "text/plain"]
    styles = [text for tag, _, text in parsed.raw if tag == "style"]
    assert len(scripts) == 1  # it unpacks the others
    packed = [parsed.blocks[name] for name in ("data-script", "data-library") if name in parsed.blocks]
    scripts += [gzip.decompress(b64decode(one)).decode() for one in packed]
    assert parsed.policy == {
        "default-src": "'none'",
        "img-src": "data:",
        "script-src": " ".join(map(digest, scripts)),
        "style-src": " ".join(map(digest, styles)),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "data-script" in parsed.blocks and len(styles) == 1
    for tag, attributes in parsed.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not {"style", "srcset", "srcdoc", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert not (attributes.get("src") or "").strip()
        link = attributes.get("href") or "#"  # followed by hand alone
        assert link.startswith("#") or (link.startswith("https://arxiv.org/abs/") and attributes["rel"])
    assert not re.search(r"url\((?!data:)|@import", styles[0])


def test_the_data_is_the_payload_to_the_last_digit(page, parsed):
    blocks = parsed.blocks
    head = unpacked(blocks["data-page"])
    charts, rows, order = (head.pop(name) for name in ("charts", "words", "order"))
    assert set(rows["rows"]) == {row.name for row in page.rows}
    assert order == ["fake", "real"]
    assert bool(charts) == (page.kind == "benchmark")
    for place, image in enumerate(head["images"]):
        assert not HEAVY & set(image)
        heavy = unpacked(blocks[f"data-image-{place}"])
        image |= heavy | {"picture": blocks[f"data-picture-{place}"].strip() or None}
    assert Page.model_validate(head) == page


def test_the_data_alone_is_the_same(tmp_path, page):
    write_data(page, tmp_path / "page.json")
    assert Page.model_validate_json((tmp_path / "page.json").read_bytes()) == page


@pytest.mark.parametrize("where", ["title", "name", "class", "method", "model", "provenance", "caveat"])
def test_hostile_names_stay_text(where):
    page = explanation_page(1)
    (image,), row = page.images, page.rows[0].name
    maps = image.maps[row]
    changed = {
        "title": {"title": HOSTILE},
        "name": {"images": [image.model_copy(update={"name": HOSTILE, "label": HOSTILE})]},
        "class": {
            "classes": [HOSTILE, "fake"],
            "images": [
                image.model_copy(update={"maps": {row: {HOSTILE: maps["real"], "fake": maps["fake"]}}})
            ],
        },
        "method": {
            "rows": [page.rows[0].model_copy(update={"name": HOSTILE, "options": {HOSTILE: HOSTILE}})]
        },
        "model": {"model": {HOSTILE: {"inner": HOSTILE}}},
        "provenance": {"provenance": {HOSTILE: {"inner": [HOSTILE]}}},
        "caveat": {"images": [image.model_copy(update={"caveats": [HOSTILE]})]},
    }[where]
    harmless, hostile = Parsed(to_html(page)), Parsed(to_html(page.model_copy(update=changed)))
    assert not hostile.broken
    tags = {tag for tag, _ in harmless.elements}
    assert {tag for tag, _ in hostile.elements} <= tags | {"ul", "ol", "li", "sup"}
    assert [a for tag, a, _ in hostile.raw if tag == "script"] == [
        a for tag, a, _ in harmless.raw if tag == "script"
    ]
    assert hostile.policy == harmless.policy
    assert not any(name.startswith("on") for _, attributes in hostile.elements for name in attributes)
    if where == "title":
        assert HOSTILE in hostile.text


def test_a_name_that_is_no_text_is_written_as_an_escape():
    parsed = Parsed(to_html(explanation_page(1, title="a\nb\x00\u202ec")))
    assert r"a\nb\x00\u202ec" in parsed.text


def test_images_that_are_not_there_are_counted():
    said = " ".join(Parsed(to_html(comparison_page(2, shown=(2, 5)))).text)
    assert "2 of the 5 images given could be explained and are shown." in said
    assert "images given" not in " ".join(Parsed(to_html(comparison_page(2))).text)


def test_equal_pages_are_equal_files(page):
    assert to_html(page) == to_html(page.model_copy(deep=True))


def test_an_old_page_is_replaced_at_once_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    write_page(explanation_page(1), path)
    old = path.read_bytes()
    renderer.chart_library.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)  # as if it were not installed
    with pytest.raises(UsageError, match="vl-convert-python, which is not installed") as error:
        write_page(benchmark_page(1), path)
    assert "pip install 'vit-xai[bench]'" in str(error.value)
    assert path.read_bytes() == old
    write_page(explanation_page(2), path)
    assert path.read_bytes() != old
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]
