"""Names come from strangers: whatever they hold is text, and the page stays whole."""

import json
from itertools import cycle

import pytest
from playwright.sync_api import expect
from report_pages import benchmark_page, comparison_page, explanation_page
from viewing import show

from xai.report.payload import Page

KINDS = {
    "explanation": lambda: explanation_page(2),
    "comparison": comparison_page,
    "benchmark": lambda: benchmark_page(2, short=True),
}
HOSTILE = (
    '<img src=x onerror="window.hacked=1">',
    '"><script>window.hacked=2</script>',
    "</script><script>window.hacked=3</script>",
    "<!--<script>",
    "-->]]></style></textarea></title></noscript><b id=loose>",
    "' autofocus onfocus='window.hacked=4",
    "javascript:window.hacked=5",
    "{{ 7 * 7 }}{% for %}{# ",
    "&lt;b&gt;&amp;amp;&#x3c;",
    "a | b || c , d ; 'e' \"f\" \\ / \\u003cb\\u003e",
    "照片 фото صورة עברית 사진",
    "👩‍🚀🎭🏳️‍🌈",
    "W" * 300,
    "very long words " * 20,
)
REORDERS = "photo\u202egpj.exe"
OBJECTS = ("__proto__", "constructor", "toString")  # names that every object of JavaScript has
EXPLAINED = ("real", "fake")
LOOSE = "b#loose, img[src='x'], [onerror], [onfocus], #main script, header script, dialog script"
# all that is written: text, options, alternatives, whether on view or not
WRITTEN = """() => {
  const attributes = ["aria-label", "title", "alt", "placeholder", "aria-description"];
  const inAttributes = [...document.querySelectorAll("body *")]
    .flatMap((one) => attributes.map((name) => one.getAttribute(name) ?? ""));
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT, (node) =>
    node.parentElement.closest("script, style") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
  const found = [document.title];
  while (texts.nextNode()) found.push(texts.currentNode.data);
  return [...found, ...inAttributes].join("\\n");
}"""


def renamed(content, names):
    """JSON with strings replaced, keys included."""
    if isinstance(content, dict):
        return {names.get(key, key): renamed(value, names) for key, value in content.items()}
    if isinstance(content, list):
        return [renamed(value, names) for value in content]
    return names.get(content, content) if isinstance(content, str) else content


def hostile_page(page, names):
    """The page with classes, rows, protocols, operators, groups, caveats and facts that are `names`."""
    content = json.loads(page.model_dump_json(by_alias=True))
    known = [*(row.name for row in page.rows), *EXPLAINED, "token-6", "mean-3", "last_2_layers", "token"]
    new = dict(zip(known, unique(names), strict=False))
    parts = {part.key: f"{part.metric}|{new.get(part.protocol, part.protocol)}" for part in page.parts}
    cards = content.pop("cards")
    content = renamed(content, new | parts) | {"cards": cards}
    for image, name in zip(content["images"], cycle(names), strict=False):
        image |= {"name": name, "id": name, "group": name, "caveats": list(names)}
    facts = {name: name for name in names}
    content |= {
        "title": names[0],
        "model": facts,
        "provenance": facts | {"inner": facts, "list": list(names)},
    }
    for card in content["cards"]:
        card |= {"summary": names[0], "reference": names[-1], "needs": list(names)}
    return Page.model_validate(content)


def unique(names):
    """The names, then again with numbers."""
    yield from names
    for number in range(1000):
        yield from (f"{name} {number}" for name in names)


def visit(tab):
    """See everything once: folds, every image, the sheet."""
    tab.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for place in range(tab.locator("article.image").count()):
        show(tab, place)
        article = tab.locator(f"#image-{place}")
        article.scroll_into_view_if_needed()
        expect(article.locator("canvas").first).to_be_visible()
    show(tab, 0)
    tab.locator("#image-0 .open-sheet").click()
    expect(tab.locator("dialog#sheet canvas").first).to_be_visible()
    tab.wait_for_timeout(200)


@pytest.mark.parametrize("kind", KINDS)
def test_names_stay_text(open_page, kind):
    page = hostile_page(KINDS[kind](), HOSTILE)
    tab = open_page(page)
    visit(tab)
    assert tab.evaluate("() => window.hacked") is None
    assert tab.locator(LOOSE).count() == 0
    written = squeezed(tab.evaluate(WRITTEN))
    missing = [name for name in HOSTILE if squeezed(name) not in written]
    assert not [name for name in missing if name.isascii()], missing
    assert "{{ 7 * 7 }}" in written and "49{%" not in written
    expect(tab.locator("#image-0")).to_contain_text(HOSTILE[0])


@pytest.mark.parametrize("kind", KINDS)
def test_long_names_fit_a_phone(open_page, kind):
    tab = open_page(hostile_page(KINDS[kind](), HOSTILE[-2:]), width=360, height=740)
    assert tab.evaluate("() => document.scrollingElement.scrollWidth") <= 360
    visit(tab)
    assert tab.evaluate("() => document.scrollingElement.scrollWidth") <= 360
    assert tab.locator("dialog#sheet").evaluate("(one) => one.scrollWidth <= one.clientWidth")


@pytest.mark.parametrize("kind", KINDS)
def test_no_name_shows_another_ending(open_page, kind):
    """Characters that reorder what follows are written out: `photo\\u202egpj.exe`."""
    tab = open_page(hostile_page(KINDS[kind](), [REORDERS]))
    visit(tab)
    written = tab.evaluate(WRITTEN)
    assert "photo\\u202egpj.exe" in written
    assert "\u202e" not in written


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_every_object_has(open_page, kind):
    """Tables by name must not find what JavaScript's objects inherit."""
    tab = open_page(hostile_page(KINDS[kind](), OBJECTS))
    visit(tab)
    written = tab.evaluate(WRITTEN)
    assert "native code" not in written and "[object" not in written and "undefined" not in written


def squeezed(text):
    return " ".join(text.split())
