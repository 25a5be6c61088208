"""Pages in other languages: every sentence is marked, and a Chinese page is Chinese."""

import json
import re
from gettext import NullTranslations

import pytest
from browsing import COLOURS, described, grave
from browsing import axe as look
from playwright.sync_api import expect
from report_pages import benchmark_page, comparison_page, explanation_page

import xai.report.page as renderer
from xai.core.language import language
from xai.report import write_page

KINDS = {"explanation": explanation_page, "comparison": comparison_page, "benchmark": benchmark_page}
NAMES = {"px", "ms", "xai", "true", "null", "none", "inferno", "viridis", "cividis"}
MARKED = re.compile(r"⟦[^⟦⟧]*⟧|⟦[^⟦⟧]*$|^[^⟦⟧]*⟧")  # elements inside of a sentence cut it into texts
WORD = re.compile(r"[^\W\d_]{2,}")
# whatever a reader sees or hears: texts, options and descriptions, one per entry
WRITTEN = """() => {
  const attributes = ["aria-label", "aria-valuetext", "title", "alt", "placeholder", "label"];
  const inAttributes = [...document.querySelectorAll("body *")].flatMap((one) =>
    attributes.map((name) => one.getAttribute(name) ?? ""));
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT, (node) =>
    node.parentElement.closest("script, style, code, noscript") ? NodeFilter.FILTER_REJECT
      : NodeFilter.FILTER_ACCEPT);
  const found = [];
  while (texts.nextNode()) found.push(texts.currentNode.data);
  return [...found, ...inAttributes].map((text) => text.trim()).filter(Boolean);
}"""


class Bracketed(NullTranslations):
    """A language in which every sentence is that of the code, in brackets."""

    def gettext(self, message):
        return f"⟦{message}⟧"

    def ngettext(self, one, many, count):
        return f"⟦{one if count == 1 else many}⟧"

    def pgettext(self, context, message):
        return f"⟦{message}⟧"


@pytest.fixture
def bracketed(monkeypatch):
    """Chinese, as long as the test lasts, is English in brackets."""
    for module in ("xai.core.language", "xai.report.page"):
        monkeypatch.setattr(f"{module}.catalogue", lambda code: Bracketed())
    renderer.page_script.cache_clear()
    yield
    renderer.page_script.cache_clear()


def texts_of(content):
    """Every string of JSON, keys included."""
    if isinstance(content, dict):
        return [*content, *(text for value in content.values() for text in texts_of(value))]
    if isinstance(content, list):
        return [text for value in content for text in texts_of(value)]
    return [content] if isinstance(content, str) else []


def unmarked(texts, page):
    """Texts that hold words which are neither in brackets nor data of the page."""
    data = set(texts_of(json.loads(page.model_dump_json(by_alias=True))))
    names = {word.lower() for text in data if " " not in text for word in WORD.findall(text)} | NAMES
    names |= {word.lower() for card in page.cards for word in WORD.findall(card.reference)}
    found = []
    for text in dict.fromkeys(texts):
        rest = text
        while MARKED.search(rest):
            rest = MARKED.sub(" ", rest)
        if text not in data and {word.lower() for word in WORD.findall(rest)} - names:
            found.append(text)
    return found


def visit(tab):
    """See everything once: folds, the first image, its sheet."""
    tab.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for chart in tab.locator(".chart").all()[:8]:
        chart.scroll_into_view_if_needed()
        expect(chart).to_have_attribute("data-drawn", "true")
    tab.locator("#image-0").scroll_into_view_if_needed()
    expect(tab.locator("#image-0 canvas").first).to_be_visible()
    tab.locator("#image-0 .open-sheet").click()
    expect(tab.locator("dialog#sheet canvas").first).to_be_visible()


@pytest.mark.parametrize("kind", KINDS)
def test_every_sentence_is_marked(open_page, bracketed, kind):
    page = KINDS[kind](lang="zh")
    tab = open_page(page)
    visit(tab)
    texts = tab.evaluate(WRITTEN)
    assert len([text for text in texts if "⟦" in text]) > 50
    found = unmarked(texts, page)
    assert found == [], "\n".join(found)


def test_an_unmarked_sentence_is_found(open_page, bracketed, monkeypatch):
    """The check above sees what it is meant to see."""
    page = explanation_page(1, lang="zh")
    assert unmarked(["⟦{a} of ⟦b⟧⟧ · real", "photo_0.jpg", "12 px"], page) == []
    assert unmarked(["A sentence", "⟦one⟧ and ⟦two⟧"], page) == ["A sentence", "⟦one⟧ and ⟦two⟧"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_chinese_page_says_so_and_works(open_page, kind):
    """Its colours are those of an English page."""
    page = benchmark_page(2, short=True, lang="zh") if kind == "benchmark" else KINDS[kind](lang="zh")
    tab = open_page(page)
    assert tab.locator("html").get_attribute("lang") == "zh-Hans"
    visit(tab)
    expect(tab.locator("#sheet-close")).to_have_text("关闭")
    found = grave(look(tab, rules={name: {"enabled": False} for name in COLOURS}))
    assert not found, described(found)


def test_a_page_follows_its_own_language_and_no_other(tmp_path):
    page = explanation_page(1)
    write_page(page, tmp_path / "english.html")
    with language("zh"):
        write_page(page, tmp_path / "other.html")
    assert (tmp_path / "other.html").read_bytes() == (tmp_path / "english.html").read_bytes()
    assert '<html lang="en">' in (tmp_path / "english.html").read_text("utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_a_chinese_page_fits_a_phone(open_page, kind):
    tab = open_page(KINDS[kind](lang="zh"), width=390, height=844)
    assert tab.evaluate("() => document.scrollingElement.scrollWidth") <= 390
